"""What the agent's own work costs, function by function: `python -m bench.decisions [--profile]`.

No Envoy and no sockets: requests are fed to the protocol as bytes, and the access log is read
line by line. For whoever makes the agent faster.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from bench import bodies, manifests
from bench.asking import HEAD
from bench.systems import MODEL
from modelrouter.api.manifests import load_manifests
from modelrouter.api.router_config import CanaryConfig
from modelrouter.plan.routers import choose_router, plan_router
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.decisions.protocol import DecisionProtocol, DecisionServer
from modelrouter.router.decisions.service import DecisionService
from modelrouter.router.envoy.log_lines import LINE_FORMAT, SEPARATOR, TOKENS, read_line
from modelrouter.router.envoy.resources import ResourceBuilder
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.measuring.measurements import Measurements, RunningCanary
from modelrouter.router.records.keeping import DecisionRecords

Work = Callable[[], None]

CHUNK = 65536
_LOGGED = {
    "%RESP(X-MR-ROUTE)%": MODEL,
    "%RESP(X-MR-REASON)%": "rule:default; stable",
    "%UPSTREAM_CLUSTER%": f"{MODEL}-first",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%": "1",
    "%RESPONSE_CODE%": "200",
    "%DURATION%": "2",
    "%RESPONSE_DURATION%": "1",
    TOKENS: "210/56",
    "%RESP(CONTENT-TYPE)%": "application/json",
}


class Sink:
    """A transport that keeps nothing."""

    written = 0

    def write(self, data: bytes) -> None:
        """Count what is written."""
        self.written += len(data)


async def agent_parts(directory: Path) -> tuple[Ledger, DecisionService]:
    """A ledger and a decision service with the configuration of the benchmarks."""
    manifests.write(directory, {MODEL: (20001, 20002)})
    loaded = load_manifests([directory])
    planned = plan_router(loaded, *choose_router(loaded, "", ""))
    assert not planned.problems, planned.problems
    ledger = Ledger()
    service = DecisionService(ledger)
    keys = {"provider": {"api-key": manifests.KEY}}
    built = await ResourceBuilder(EnvoySettings(directory)).build(planned.config, keys)
    ledger.use_pools(planned.config.pools)
    service.use(await service.compile(planned.config), built.plans)
    return ledger, service


def questions(body: bytes, count: int) -> list[bytes]:
    """Requests as Envoy sends them, each with an id of its own."""
    heads = (HEAD.format(id=uuid.uuid4(), length=len(body)) for _ in range(count))
    return [head.encode() + body for head in heads]


def ask_all(service: DecisionService, requests: Sequence[bytes]) -> Callable[[], None]:
    """Feed the requests to one connection, in pieces as they come from a socket."""
    protocol = DecisionProtocol(DecisionServer("", service))
    protocol.connection_made(cast(asyncio.Transport, Sink()))
    pieces = [r[start : start + CHUNK] for r in requests for start in range(0, len(r), CHUNK)]

    def run() -> None:
        for piece in pieces:
            protocol.data_received(piece)

    return run


def take_all(ledger: Ledger, count: int, *more: Callable[[RequestRecord], None]) -> Work:
    """Read lines of the access log, count them, and give them to others, too."""
    lines = [_log_line() for _ in range(count)]

    def run() -> None:
        for line in lines:
            record = read_line(line.decode("latin-1"))
            ledger.record(record)
            for take in more:
                take(record)

    return run


def measurements() -> Measurements:
    """What measures the route's requests, all of them of one arm of a canary."""
    canary = CanaryConfig(
        id="1", rule="default", stable=f"{MODEL}-first", candidate=f"{MODEL}-second"
    )
    running = RunningCanary(canary, began_at=0.0)
    running.prices = {f"{MODEL}-first": (1e-6, 2e-6)}
    made = Measurements()
    made.running = {MODEL: running}
    return made


def _log_line() -> bytes:
    values = {**_LOGGED, "%REQ(X-REQUEST-ID)%": str(uuid.uuid4())}
    fields = LINE_FORMAT.rstrip("\n").split(SEPARATOR)
    return SEPARATOR.join(values.get(field, "-") for field in fields).encode()


def main() -> None:
    """Print what each kind of work costs, or its profile."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="function by function")
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        ledger, service = asyncio.run(agent_parts(Path(directory)))
    for size in (1, 16, 100):
        for last in (False, True):
            body = bodies.chat(MODEL, size * 1024, model_last=last)
            count = max(options.count // (1 + size // 4), 200)
            name = f"decision, {size} KB, model {'last' if last else 'first'}"
            _report(name, count, ask_all(service, questions(body, count)), options.profile)
    count = options.count
    records, measured = DecisionRecords(most=max(count // 2, 1)), measurements()
    for name, takers in (
        ("access log line", ()),
        ("the same, and its record", (records.add,)),
        ("the same, and a canary's arm", (records.add, measured.record)),
    ):
        _report(name, count, take_all(ledger, count, *takers), options.profile)


def _report(name: str, count: int, run: Callable[[], None], profile: bool) -> None:
    gc.collect()
    gc.freeze()
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(run)
        print(f"== {name}")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(22)
        return
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    print(f"{name:32} {best / count * 1e6:8.1f} µs")


if __name__ == "__main__":
    main()
