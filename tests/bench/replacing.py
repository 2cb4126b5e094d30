"""An agent whose thousand routes are all replaced, again and again, while it decides."""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import asking, bodies
from bench.asking import Latencies
from bench.envoys import envoy_command
from bench.processes import BenchError, Program
from modelrouter.api.router_config import RouterConfig
from modelrouter.standalone.ports import free_port

POOLS = 50
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Replacements:
    """What was seen while routes were replaced."""

    routes: int
    times: int
    """How often all of them were."""
    live_ms: float
    """From writing a configuration to its being in force, acknowledged by Envoy: the median."""
    decisions: Latencies


def document(routes: int, generation: int, port: int) -> dict[str, Any]:
    """A configuration in which every route differs from that of the generation before."""
    ejection = {"consecutive_errors": 5, "base_ejection_time_ms": 30000, "max_ejection_percent": 50}
    pools = {
        f"pool-{n}": {
            "model": f"backend-{n}",
            "addresses": [f"127.0.0.1:{port}"],
            "context_window": 131072,
            "ejection": ejection,
        }
        for n in range(POOLS)
    }
    config = RouterConfig.model_validate(
        {
            "router": "default",
            "namespace": "default",
            "pools": pools,
            "routes": {f"route-{n}": _route(n, generation) for n in range(routes)},
        }
    )
    return config.document()


def _route(number: int, generation: int) -> dict[str, Any]:
    first, second, third = (f"pool-{(number + step) % POOLS}" for step in range(3))
    weights = [
        {"pool": first, "weight": 50 + generation % 40},
        {"pool": second, "weight": 50 - generation % 40},
    ]
    return {
        "models": [f"model-{number}"],
        "pools": [first, second, third],
        "rules": [
            {
                "name": "confidential",
                "conditions": {"data_classes": ["confidential"]},
                "targets": [{"pool": third, "weight": 1}],
                "failover": [],
            },
            {"name": "default", "targets": weights, "failover": [second, third]},
        ],
        "retry": {"attempts_per_pool": 2, "triggers": ["connect-failure", "reset", "5xx", "429"]},
        "request_timeout_ms": 600_000 + generation,
        "idle_timeout_ms": 60_000,
        "fallthrough": {"pools": [first, second, third], "closed": False},
    }


@contextmanager
def agent_and_envoy(config: Path, runtime: Path) -> Iterator[Callable[[str, float], str]]:
    """Run both; yields a function that waits for another version than a given one, after it had the
    agent look at its files."""
    admin = free_port()
    command = [
        *(sys.executable, "-m", "modelrouter", "router", "--config", str(config)),
        *("--runtime-dir", str(runtime), "--admin", f"127.0.0.1:{admin}"),
        *("--listen", f"127.0.0.1:{free_port()}", "--void-port", str(free_port())),
        *("--drain-seconds", "1", "--log-level", "warning"),
    ]

    def version_after(version: str, timeout: float) -> str:
        os.kill(agent.pid, signal.SIGHUP)
        url = f"http://127.0.0.1:{admin}/configz?after={version}&timeout={timeout}"
        with urllib.request.urlopen(url, timeout=timeout + 5) as answer:
            found: str = json.load(answer)["version"]
        return found

    bootstrap = runtime / "envoy.json"
    with Program("agent", command, runtime / "agent.log") as agent:
        agent.wait_until(bootstrap.exists, "its start")
        with Program("envoy", envoy_command(bootstrap), runtime / "envoy.log"):
            yield version_after


def replace_under_load(
    directory: Path, backend: int, routes: int, rate: float, seconds: float
) -> Replacements:
    """Decide at a steady rate while all routes are replaced as fast as Envoy takes them."""
    runtime = directory / "replacing"
    runtime.mkdir()
    config, fresh = runtime / "config.json", runtime / "config.json.new"
    documents = [document(routes, generation, backend) for generation in range(6)]
    encoded = [(str(d["version"]), json.dumps(d)) for d in documents]
    version, text = encoded[0]
    config.write_text(text)
    questions = [bodies.chat(f"model-{n}", 1024) for n in range(0, routes, 7)]
    live: list[float] = []
    with agent_and_envoy(config, runtime) as version_after:
        if version_after("", 60.0) != version:
            raise BenchError(f"the first {routes} routes are not in force after a minute")
        running = asking.start(runtime / "decide.sock", rate, seconds, questions, runtime)
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until:
            number += 1
            wanted, text = encoded[number % len(encoded)]
            fresh.write_text(text)
            started = time.monotonic()
            fresh.rename(config)
            found = version_after(version, 30.0)
            if found != wanted:
                raise BenchError(f"version {wanted} is not in force; {found} is")
            live.append((time.monotonic() - started) * 1e3)
            version = found
            time.sleep(PAUSE_SECONDS)
        decisions = asking.finish(running)
    return Replacements(routes, len(live), statistics.median(live), decisions)
