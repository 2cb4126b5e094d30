"""`python -m bench.prefixes`: conversations on servers with a prefix cache, by load balancing."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from bench.machine import machine
from bench.sections import PREFIXES, write_section
from bench.tables import table
from component.router.rig import Rig, Router, Simulator, pool, route

MOST_OF_MEAN = 1.25
"""What the busiest endpoint may get of the mean with PrefixHash."""
POLICIES = ("RoundRobin", "LeastRequest", "PrefixHash")
ENDPOINTS = 4
CLIENTS = 16
CONVERSATIONS = 64
OPEN = 4
"""Conversations that one client has under way, a turn of each in turn."""
TURNS = 6
FIRST_BYTES, LATER_BYTES = 6000, 400
"""Of a user's first message, which brings a document along, and of the later ones."""
CACHED_TOKENS = 50_000
"""What one server's prefix cache holds: a third of what all conversations together come to."""
PREFILL_MS = 100
"""Per 1,000 tokens that are not cached, one prompt after the other."""
SYSTEM = "You are the assistant of the support team. Answer briefly, politely and in English. " * 4


@dataclass(slots=True)
class Seen:
    """One run."""

    policy: str
    first_tokens: list[float] = field(default_factory=list)
    """Seconds to the first token, of first turns."""
    later_tokens: list[float] = field(default_factory=list)
    """The same of later turns."""
    hit_rate: float = 0.0
    share: float = 0.0
    """Requests of the endpoint that got most, as a multiple of the mean."""
    seconds: float = 0.0


async def converse(url: str, session: aiohttp.ClientSession, dice: Random, seen: Seen) -> None:
    """A client with its conversations."""
    talks: list[list[dict[str, str]]] = [
        [{"role": "system", "content": SYSTEM}] for _ in range(CONVERSATIONS // CLIENTS)
    ]
    for start in range(0, len(talks), OPEN):
        for turn in range(TURNS):
            for messages in talks[start : start + OPEN]:
                size = FIRST_BYTES if turn == 0 else LATER_BYTES
                messages.append({"role": "user", "content": words(dice, size)})
                waited, answer = await ask(url, session, messages)
                messages.append({"role": "assistant", "content": answer})
                (seen.later_tokens if turn else seen.first_tokens).append(waited)


def words(dice: Random, size: int) -> str:
    """Text that no other message has."""
    return " ".join(f"{dice.getrandbits(28):07x}" for _ in range(size // 8))


async def ask(
    url: str, session: aiohttp.ClientSession, messages: Sequence[dict[str, str]]
) -> tuple[float, str]:
    """Seconds to the first token, and the answer."""
    body = {"model": "chat", "messages": messages, "stream": True}
    started, first, text = time.perf_counter(), None, ""
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                piece = choices[0]["delta"].get("content") if choices else None
                if piece:
                    first = first or time.perf_counter()
                    text += piece
    assert first is not None, "an answer without text"
    return first - started, text


async def counters(servers: Sequence[Simulator], session: aiohttp.ClientSession) -> dict[str, Any]:
    """Tokens looked up and found in the caches, and the requests of each server."""
    found: dict[str, Any] = {"queries": 0.0, "hits": 0.0, "requests": []}
    for server in servers:
        async with session.get(f"{server.url}/metrics") as answer:
            text = await answer.text()
        for name in ("queries", "hits"):
            lines = re.findall(rf"^vllm:prefix_cache_{name}_total\{{.*\}} (\S+)$", text, re.M)
            found[name] += sum(map(float, lines))
        found["requests"].append(await server.count())
    return found


async def run(policy: str, router: Router, servers: Sequence[Simulator]) -> Seen:
    """All conversations, once."""
    seen, started = Seen(policy), time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(
            *(converse(router.url, session, Random(n), seen) for n in range(CLIENTS))
        )
        seen.seconds = time.monotonic() - started
        found = await counters(servers, session)
    seen.hit_rate = found["hits"] / found["queries"]
    requests = found["requests"]
    seen.share = max(requests) * len(requests) / sum(requests)
    return seen


def measure(policy: str, directory: Path) -> Seen:
    """A run on servers of its own, whose caches are empty."""
    options = ["--first-token", "20", "--per-token", "2", "--tokens", "24"]
    options += ["--prefill-per-1k-tokens", str(PREFILL_MS)]
    options += ["--num-gpu-blocks-override", str(CACHED_TOKENS // 16)]
    with Rig(directory) as rig:
        names = [f"{policy.lower()}-{n}" for n in range(ENDPOINTS)]
        servers = rig.simulators(*names, model="acme/chat", options=options)
        router = rig.router(
            pool("chat", *servers, loadBalancing=policy), route("chat", pools=["chat"])
        )
        return asyncio.run(run(policy, router, servers))


def quantile(values: Sequence[float], q: float) -> float:
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def section(runs: Sequence[Seen]) -> str:
    """The results for people."""

    def row(seen: Seen) -> list[str]:
        times = [quantile(seen.later_tokens, 0.5), quantile(seen.later_tokens, 0.95)]
        return [
            seen.policy,
            f"{seen.hit_rate:.0%}",
            f"{quantile(seen.first_tokens, 0.5):.2f}",
            *(f"{value:.2f}" for value in times),
            f"{seen.share:.2f}x",
            f"{seen.seconds:.0f}",
        ]

    heads = ["", "tokens found in the cache", "first turn: p50 s", "later turns: p50 s"]
    heads += ["p95 s", "busiest endpoint to the mean", "all turns s"]
    by_name = {seen.policy: seen for seen in runs}
    lines = [
        "## Conversations and the prefix cache\n",
        f"{CONVERSATIONS} conversations of {TURNS} turns on {ENDPOINTS} simulated servers, whose "
        f"cache holds {CACHED_TOKENS:,} tokens each, a third of all conversations. Every first "
        f"message brings {FIRST_BYTES // 4:,} tokens of its own; what is not cached takes a server "
        f"{PREFILL_MS} ms per 1,000 tokens, one prompt after the other. {CLIENTS} clients with "
        f"{OPEN} conversations each wait for every answer. Seconds are those to the first token.\n",
        *table(heads, map(row, runs)),
    ]
    if {"RoundRobin", "PrefixHash"} <= by_name.keys():
        slow, fast = by_name["RoundRobin"], by_name["PrefixHash"]
        ratio = quantile(slow.later_tokens, 0.5) / quantile(fast.later_tokens, 0.5)
        bounded = "held" if fast.share <= MOST_OF_MEAN else "NOT HELD"
        lines.append(
            f"PrefixHash answers later turns {ratio:.1f} times as soon as RoundRobin (at the "
            f"median), with {fast.hit_rate:.0%} of the prompts' tokens found in the cache instead "
            f"of {slow.hit_rate:.0%}. Its busiest endpoint gets {fast.share:.2f} times the mean, "
            f"at most {MOST_OF_MEAN} times: {bounded}.\n"
        )
    lines.append(
        f"Measured on {date.today().isoformat()} with `make bench-prefix` on {machine()}. The "
        "servers are simulated: how much a real engine gains depends on its speed of reading "
        "prompts."
    )
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.prefixes", description=__doc__)
    parser.add_argument("--output", type=Path, help="put the section into this page, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        runs = []
        for policy in POLICIES:
            directory = Path(name, policy)
            directory.mkdir()
            runs.append(measure(policy, directory))
    text = section(runs)
    print(text)
    if options.output:
        write_section(options.output, PREFIXES, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
