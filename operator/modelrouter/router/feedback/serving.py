"""`POST /v1/feedback` for clients, through Envoy, and `POST /feedbackz` for the other routers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import structlog
from aiohttp import web

from modelrouter.policy.refusal import Refusal
from modelrouter.router.envoy.feedback import FEEDBACK_PATH
from modelrouter.router.feedback.joining import FeedbackLedger, Joined
from modelrouter.router.feedback.peers import ANSWERS, ASKER_HEADER, PATH, Peers, PeerSilentError
from modelrouter.router.feedback.reading import MOST_BYTES, Feedback, read_feedback

log = structlog.get_logger(__name__)

RECORD_PATIENCE_SECONDS = 1.0
"""How long the record of a request may take: Envoy tells of its end within 20 ms, and this agent
may have other work."""
KEEP_ALIVE_SECONDS = 60.0
"""For connections that Envoy does not use; it closes them before that."""

_STATUS = {joined: status for status, joined in ANSWERS.items()}
_UNKNOWN = Refusal(
    404,
    "No router knows this request. It is the x-request-id of an answer, and must come within an "
    "hour of it.",
    param="request_id",
    code="request_not_found",
)
_UNCERTAIN = Refusal(
    503,
    "Not all routers could be asked about this request. Try again.",
    type="server_error",
    code="feedback_unavailable",
    retry_after=1,
)
_TOO_LARGE = Refusal(
    413, f"Feedback may have {MOST_BYTES} bytes at most.", code="request_too_large"
)
_INTERNAL_ERROR = Refusal(500, "The router could not take this feedback.", type="server_error")


def client_app(ledger: FeedbackLedger, peers: Peers) -> web.Application:
    """What Envoy asks on behalf of clients."""

    async def take(request: web.Request) -> web.Response:
        feedback = await _read(request)
        if isinstance(feedback, Refusal):
            return _refusing(feedback)
        try:
            joined = ledger.join(feedback)
            if joined is Joined.UNKNOWN:
                joined = await _find(ledger, peers, feedback)
        except PeerSilentError:
            return _refusing(_UNCERTAIN)
        except Exception:
            # The comment stays out of the log: it may be confidential.
            log.exception("feedback could not be taken")
            return _refusing(_INTERNAL_ERROR)
        if joined is Joined.UNKNOWN:
            ledger.unknown += 1
            return _refusing(_UNKNOWN)
        return _answering(feedback, joined)

    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post(FEEDBACK_PATH, take)
    return app


@asynccontextmanager
async def serve_feedback(path: str, ledger: FeedbackLedger, peers: Peers) -> AsyncIterator[None]:
    """Take feedback on a Unix socket; an old one in the same place is replaced."""
    runner = web.AppRunner(
        client_app(ledger, peers),
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        lingering_time=1.0,  # for the rest of bodies that are too large
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        await web.UnixSite(runner, path).start()
        yield
    finally:
        await runner.cleanup()


def peer_routes(ledger: FeedbackLedger, peers: Peers) -> Iterable[web.RouteDef]:
    """What the admin server answers to the other routers."""

    async def take(request: web.Request) -> web.Response:
        feedback = await _read(request)
        if isinstance(feedback, Refusal):
            return _refusing(feedback)
        if request.headers.get(ASKER_HEADER) == peers.name:
            return _refusing(_UNKNOWN)  # it waits for the record already
        joined = await ledger.join_soon(feedback, RECORD_PATIENCE_SECONDS)
        return _refusing(_UNKNOWN) if joined is Joined.UNKNOWN else _answering(feedback, joined)

    return [web.post(PATH, take)]


async def _find(ledger: FeedbackLedger, peers: Peers, feedback: Feedback) -> Joined:
    """Somebody else may know the request, or its record is on its way to here."""
    here = asyncio.create_task(ledger.join_soon(feedback, RECORD_PATIENCE_SECONDS))
    there = asyncio.create_task(peers.ask(feedback))
    try:
        for found in asyncio.as_completed((here, there)):
            joined = await found
            if joined is not Joined.UNKNOWN:
                return joined
    except PeerSilentError:
        if (joined := await here) is not Joined.UNKNOWN:
            return joined
        raise
    finally:
        here.cancel()
        there.cancel()
        await asyncio.gather(here, there, return_exceptions=True)
    return Joined.UNKNOWN


async def _read(request: web.Request) -> Feedback | Refusal:
    try:
        return read_feedback(await request.read())
    except web.HTTPRequestEntityTooLarge:
        return _TOO_LARGE


def _answering(feedback: Feedback, joined: Joined) -> web.Response:
    answer: dict[str, Any] = {
        "object": "feedback",
        "request_id": feedback.request_id,
        "accepted": joined is Joined.NEW,
    }
    body = orjson.dumps(answer)
    return web.Response(body=body, status=_STATUS[joined], content_type="application/json")


def _refusing(refusal: Refusal) -> web.Response:
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    return web.Response(
        body=refusal.body(),
        status=refusal.status,
        headers=headers,
        content_type="application/json",
    )
