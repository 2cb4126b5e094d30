"""ModelRoutes and ModelPools, followed by kopf.

kopf runs in a thread with an event loop of its own, because it ends when a watch fails for good,
as when somebody deletes the definitions; then it is started again. Its handlers only hand each
event over; it adds no finalizer and no annotation, and posts no Events. What it does not tell,
namely which objects vanished while a watch was broken, a complete list mends now and then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import kopf
import structlog

from modelrouter.controller.store import Object
from modelrouter.kube.connection import Connection

log = structlog.get_logger(__name__)

Deliver = Callable[[str, str | None, Object], None]
"""Takes the plural of the kind, the type of the event (None: from a list) and the object."""

KINDS = ("modelroutes", "modelpools")
_LONGEST_PAUSE = 5.0
_END_SECONDS = 1.0
"""How long the tasks of kopf have to end when it is stopped."""


class NoEssence(kopf.DiffBaseStorage):
    """Nothing is remembered in objects, so nothing has to be copied and compared for that."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """What would be compared."""
        return {}

    def fetch(self, *, body: Any) -> Any:
        """What would have been remembered."""
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Remember nothing."""


class NoProgress(kopf.ProgressStorage):
    """There are no handlers with a progress to remember."""

    def fetch(self, *, key: Any, body: Any) -> Any:
        """What would have been remembered."""
        return None

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Remember nothing."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """There is nothing to forget."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Change nothing."""

    def clear(self, *, essence: Any) -> Any:
        """What would be compared."""
        return essence


class EndlessBackoffs:
    """Pauses between attempts, for ever: kopf gives up and ends when they run out."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.2, 0.5, 1.0, 2.0)
        while True:
            yield _LONGEST_PAUSE


def make_settings() -> kopf.OperatorSettings:
    """kopf as a plain watcher."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.networking.request_timeout = 60.0
    settings.networking.connect_timeout = 5.0
    settings.watching.server_timeout = 240
    settings.watching.connect_timeout = 5.0
    settings.watching.reconnect_backoff = 0.2
    settings.watching.chunk_size = 500
    settings.persistence.diffbase_storage = NoEssence()
    settings.persistence.progress_storage = NoProgress()
    settings.queueing.error_delays = (1, 1, 2, 3, 5)
    return settings


def make_registry(login: Callable[[], kopf.AiohttpSession], deliver: Deliver) -> Any:
    """The handlers: one for each kind, and the way in."""
    registry = kopf.OperatorRegistry()

    async def connect(**_: Any) -> kopf.AiohttpSession:
        return login()

    kopf.on.login(registry=registry, id="login")(connect)
    for plural in KINDS:
        _hand_over(plural, registry, deliver)
    return registry


def open_session(connection: Connection) -> aiohttp.ClientSession:
    """A session that is let in for as long as the connection knows a good token."""

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        for fresh in (False, True):
            authorization = await connection.authorization(fresh)
            if authorization:
                request.headers["authorization"] = authorization
            response = await handler(request)
            if response.status != 401:
                break
        return response

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.tls or False),
        middlewares=(authorize,),
        proxy=connection.proxy,
    )


def _hand_over(plural: str, registry: Any, deliver: Deliver) -> None:
    async def handle(event: Any, **_: Any) -> None:
        deliver(plural, event["type"], event["object"])

    kopf.on.event("modelrouter.dev", "v1alpha1", plural, registry=registry, id=plural)(handle)


class KopfThread:
    """One run of kopf, to be followed by another when it ends by itself."""

    def __init__(
        self,
        connection: Connection,
        namespaces: Sequence[str],
        deliver: Deliver,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._namespaces = list(namespaces)
        self._owner = asyncio.get_running_loop()
        self._deliver = deliver
        self._ended = ended
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._sessions: list[aiohttp.ClientSession] = []
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin."""
        # It tells of every event that it hands over, and that it ignores signals in a thread.
        for name in ("kopf.objects", "kopf.activities", "kopf._core"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    async def stop(self) -> None:
        """End it, and wait for that."""
        with suppress(RuntimeError):  # its loop has just been closed
            self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, 3 * _END_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._operate())
        except Exception as error:
            log.warning("kopf ended", reason=repr(error))
        finally:
            self._loop.close()
            self._call(self._ended)

    async def _operate(self) -> None:
        tasks = await kopf.spawn_tasks(
            registry=make_registry(self._open_session, self._hand_to_owner),
            settings=make_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
        )
        stopping = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # kopf's own way out waits for tasks of which some never end once a watch has failed.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=_END_SECONDS)
        for session in self._sessions:
            await session.close()
        for task in done - {stopping}:
            task.result()

    def _open_session(self) -> kopf.AiohttpSession:
        session = open_session(self._connection)
        self._sessions.append(session)
        return kopf.AiohttpSession(server=self._connection.url, aiohttp_session=session)

    def _hand_to_owner(self, plural: str, kind: str | None, obj: Object) -> None:
        self._call(self._deliver, plural, kind, obj)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the owner's loop is closed: the process ends
            self._owner.call_soon_threadsafe(function, *arguments)
