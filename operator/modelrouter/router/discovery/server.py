"""The delta ADS service, and the Unix socket that it and its neighbours are served on.

`xds-protos` names no types and its servicers copy each message once more, so the handler works on
bytes and `wire` turns them into values.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from modelrouter.router.discovery.store import Session, Store
from modelrouter.router.discovery.wire import (
    METHOD,
    SERVICE,
    Request,
    decode_request,
    encode_response,
)

log = logging.getLogger(__name__)

HASH_SLICE = 500
"""Versions computed at a time before the event loop gets its turn; about half a millisecond."""


def discovery_handler(store: Store) -> grpc.GenericRpcHandler[Request, bytes]:
    """Delta ADS of `store`, for any number of Envoys."""

    async def stream(
        requests: AsyncIterator[Request], context: grpc.aio.ServicerContext[Request, bytes]
    ) -> None:
        await store.ready()
        session = store.connect()
        log.info("Envoy connected for its configuration")
        listening = asyncio.create_task(_listen(store, session, requests))
        try:
            await _send(store, session, context, listening)
        finally:
            listening.cancel()
            store.disconnect(session)
            log.info("Envoy's configuration stream ended")

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            METHOD: grpc.stream_stream_rpc_method_handler(
                stream, request_deserializer=decode_request
            )
        },
    )


async def _listen(store: Store, session: Session, requests: AsyncIterator[Request]) -> None:
    """Take in what Envoy says, until it goes."""
    ledger = session.ledger
    try:
        async for request in requests:
            if request.nonce:
                rejection = None
                if request.error is None:
                    ledger.acknowledge(request.nonce)
                else:
                    rejection = ledger.reject(request.nonce, request.error)
                store.note_answer(rejection, request.kind)
            if request.initial_versions:
                start = 0
                while store.hash_ahead(request.kind, start, HASH_SLICE):
                    start += HASH_SLICE
                    await asyncio.sleep(0)
            ledger.subscribe(
                request.kind, request.subscribe, request.unsubscribe, request.initial_versions
            )
            if not request.nonce:
                store.note_answer(None, request.kind)
            session.wake.set()
    finally:
        session.wake.set()


async def _send(
    store: Store,
    session: Session,
    context: grpc.aio.ServicerContext[Request, bytes],
    listening: asyncio.Task[None],
) -> None:
    """Send what is due whenever something is, until Envoy goes."""
    loop = asyncio.get_running_loop()
    ledger, wake = session.ledger, session.wake
    while not listening.done():
        wake.clear()
        while (due := ledger.next_push(time.monotonic())) is not None:
            nonce, push = due
            # In a thread: a route table of megabytes takes longer to copy than a decision may wait.
            answer = await asyncio.to_thread(encode_response, push, nonce, store.version or "")
            await context.write(answer)
            await asyncio.sleep(0)
        # What turned out to be there already was settled without a push.
        store.note_progress()
        alarm = None
        if ledger.wake_at is not None:
            alarm = loop.call_later(max(0.0, ledger.wake_at - time.monotonic()), wake.set)
        try:
            await wake.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


async def serve(
    path: Path, handlers: Sequence[grpc.GenericRpcHandler[Any, Any]], *, mode: int = 0o660
) -> grpc.aio.Server:
    """Serve `handlers` on a Unix socket that owner and group may use. A stale socket is replaced.

    Keep the result: gRPC shuts a server down that nothing refers to. End it with
    `await server.stop(None)`: discovery streams never end by themselves.
    """
    server = grpc.aio.server(
        options=[
            # One resource may be large, such as a route configuration with thousands of entries.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Envoy pings every 10 s to notice an agent that hangs; gRPC takes more than a few
            # pings in five minutes for an attack and ends the connection.
            ("grpc.http2.max_ping_strikes", 0),
        ]
    )
    server.add_generic_rpc_handlers(tuple(handlers))
    # The socket is created by bind(2), so only the umask keeps it closed from its first moment.
    umask = os.umask(0o777 & ~mode)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(umask)
    path.chmod(mode)
    await server.start()
    return server
