"""Doing to the stage what the rounds say."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chaos.rounds import ROUND_SECONDS, Kind, Round, Strike
from chaos.stage import Stage, set_faults
from cluster.kubernetes.access import KubectlError
from cluster.node.away import operator_pods, signal_containers

Object = dict[str, Any]

_STORMS: dict[Kind, Callable[[float], Object]] = {
    Kind.ERRORS: lambda share: {"fail_status": 503, "fail_rate": share},
    Kind.TOO_MANY: lambda share: {"fail_status": 429, "fail_rate": share, "retry_after": 1},
    Kind.RESETS: lambda share: {"mode": "reset", "fail_rate": share},
    Kind.SLOW: lambda share: {"first_token_ms": 2000 * share},
}
_WAIT_FOR_API_SECONDS = 20.0
_ENDING_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Kill:
    """Processes that were killed under the requests that they were working on."""

    at: float
    """Seconds since 1970, just before."""
    done: float
    pods: tuple[str, ...]
    pool: str = ""
    """Of the servers; empty: it was a process of a router."""
    agent: bool = False
    """Whether that was the agent, through which only some streams pass."""


@dataclass(slots=True)
class Striker:
    """Strikes, and remembers what others have to know of it."""

    stage: Stage
    dice: random.Random
    say: Callable[[str], None] = print
    kills: list[Kill] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """How often each thing happened."""
    _undo: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    _pods: dict[str, list[Object]] = field(default_factory=dict)

    def strike_all(self, round_: Round, until: float = float("inf")) -> None:
        """A round, from its beginning until all is undone that has an end of its own.

        `until`: the moment of `time.monotonic` after which nothing new is done.
        """
        # For strikes while the API server is away.
        self._pods = {pool: self.stage.servers(pool) for pool in self.stage.pools}
        began = time.monotonic()
        waiting = list(round_.strikes)
        while waiting or self._undo:
            now = time.monotonic()
            self._run_due()
            if now > until:
                waiting = []
            elif waiting and now - began >= waiting[0].at:
                self._strike(waiting.pop(0))
            time.sleep(0.05)
        time.sleep(max(0.0, min(began + ROUND_SECONDS, until) - time.monotonic()))

    def _strike(self, strike: Strike) -> None:
        who = f"{strike.pool}{' (all)' if strike.everyone else ''}" if strike.pool else ""
        self.say(f"{strike.kind} {who}".rstrip())
        self.done[strike.kind] += 1
        if strike.pool:
            self._strike_pool(strike)
        else:
            self._strike_around(strike)

    def _strike_pool(self, strike: Strike) -> None:
        if strike.kind is Kind.SCALE:
            self._ask(lambda: self.stage.scale(strike.pool, int(strike.amount)), None)
            return
        servers = self._servers(strike.pool)
        chosen = servers if strike.everyone else servers[:1]
        match strike.kind:
            case Kind.KILL:
                self._kill(chosen, "vllm", strike.pool)
            case Kind.FREEZE:
                self._signal(chosen, signal.SIGSTOP)
                self._later(strike.seconds, lambda: self._signal(chosen, signal.SIGCONT))
            case Kind.DELETE:
                self._delete(chosen)
            case kind:
                plan = _STORMS[kind](strike.amount)
                for pod in chosen:
                    set_faults(pod, plan)
                self._later(strike.seconds, lambda: [set_faults(pod, {}) for pod in chosen])

    def _servers(self, pool: str) -> list[Object]:
        """Of a pool, or those that it had last when the API server is away."""
        with suppress(KubectlError):
            self._pods[pool] = self.stage.servers(pool)
        return self._pods[pool]

    def _strike_around(self, strike: Strike) -> None:
        kubernetes = self.stage.kubernetes
        match strike.kind:
            case Kind.OPERATOR_KILL:
                signal_containers(kubernetes, operator_pods(kubernetes))
            case Kind.OPERATOR_DELETE:
                self._delete(operator_pods(kubernetes)[:1])
            case Kind.AGENT_KILL:
                self._kill([self._router()], "agent")
            case Kind.ENVOY_KILL:
                self._kill([self._router()], "envoy")
            case Kind.ROUTER_DELETE:
                self._delete([self._router()])
            case Kind.API_SERVER:
                kubernetes.stop_api_server()
                self._later(strike.seconds, self._start_api_server)

    def _start_api_server(self) -> None:
        self.stage.kubernetes.start_api_server()
        self.stage.kubernetes.restart_controllers()

    def _router(self) -> Object:
        return self.dice.choice(self.stage.routers())

    def _kill(self, chosen: list[Object], container: str, pool: str = "") -> None:
        names = tuple(pod["metadata"]["name"] for pod in chosen)
        at = time.time()
        self._signal(chosen, signal.SIGKILL, container)
        # A process that ends takes a moment to close its sockets.
        time.sleep(_ENDING_SECONDS)
        self.kills.append(Kill(at, time.time(), names, pool, container == "agent"))

    def _signal(self, chosen: list[Object], number: int, container: str = "vllm") -> None:
        # A container may have been replaced since; then nothing is left to do.
        signal_containers(self.stage.kubernetes, chosen, container, number, all_run=False)

    def _delete(self, chosen: list[Object]) -> None:
        for pod in chosen:
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            delete = ("delete", "pod", name, "-n", namespace, "--wait=false", "--ignore-not-found")
            self._ask(partial(self.stage.kubernetes.kubectl, *delete), "")

    def _ask(self, ask: Callable[[], Any], otherwise: Any) -> Any:
        """The API server's answer, once it is back; without one this is left out."""
        deadline = time.monotonic() + _WAIT_FOR_API_SECONDS
        while time.monotonic() < deadline:
            try:
                return ask()
            except KubectlError as error:
                self.say(f"  not yet: {str(error)[-80:]}")
                self._run_due()
                time.sleep(0.5)
        return otherwise

    def _run_due(self) -> None:
        """What is due meanwhile, above all the API server's start."""
        for moment, undo in list(self._undo):
            if time.monotonic() >= moment:
                self._undo.remove((moment, undo))
                undo()

    def _later(self, seconds: float, undo: Callable[[], object]) -> None:
        self._undo.append((time.monotonic() + seconds, undo))
