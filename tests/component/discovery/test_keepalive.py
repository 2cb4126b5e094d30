"""Envoy pings the agent on a connection that may be silent for hours, and must not lose it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from modelrouter.router.discovery.server import serve

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACKNOWLEDGEMENT = 1
PINGS = 10


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame of stream 0: https://www.rfc-editor.org/rfc/rfc9113#name-frame-format"""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload


async def test_pings_without_data_are_answered_and_no_offence(tmp_path: Path) -> None:
    server = await serve(tmp_path / "discovery.sock", [])
    try:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "discovery.sock")
        writer.write(PREFACE + frame(SETTINGS))
        answered = 0
        for number in range(PINGS):
            writer.write(frame(PING, number.to_bytes(8, "big")))
            await writer.drain()
            while answered <= number:
                head = await asyncio.wait_for(reader.readexactly(9), timeout=30)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                assert kind != GOAWAY, payload[8:]
                answered += kind == PING and flags == ACKNOWLEDGEMENT
        writer.close()
    finally:
        await server.stop(None)
