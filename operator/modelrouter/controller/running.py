"""`modelrouter operator`: the operator's process, from its start to the end."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiohttp import web

from modelrouter import __version__
from modelrouter.api.operator_config import (
    InvalidOperatorConfigError,
    OperatorConfig,
    read_operator_config,
)
from modelrouter.api.quantities import milliseconds, split_address
from modelrouter.controller.adapter_calls import AdapterCalls
from modelrouter.controller.applying import Writer
from modelrouter.controller.election import Rhythm
from modelrouter.controller.following import ClusterView
from modelrouter.controller.leading import Leadership, steady_clock
from modelrouter.controller.load_answers import LoadAnswers
from modelrouter.controller.metrics import OperatorMetrics
from modelrouter.controller.probes import make_app
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.server_metrics import ServerMetrics
from modelrouter.controller.term import Term, make_session
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import Connection, NoClusterError, find_cluster
from modelrouter.logs import configure_logging
from modelrouter.plan.vllm.naming import PORT

log = structlog.get_logger(__name__)

_HUNG_SECONDS = 60.0
"""An election that has not taken a step for so long hangs: a restart would help."""


def run(config_file: Path, listen: str, kubeconfig: Path | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT; the exit code."""
    try:
        config = read_operator_config(config_file.read_text(), str(config_file))
    except OSError as error:
        print(f"modelrouter: {config_file} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except InvalidOperatorConfigError as error:
        print(f"modelrouter: {error}", file=sys.stderr)
        return 2
    configure_logging(config.log_level, "json" if config.log_format == "json" else "console")
    # kopf has a thread of its own; this one gets the interpreter back this soon.
    sys.setswitchinterval(0.0005)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, listen, kubeconfig))
    except NoClusterError as error:
        print(f"modelrouter: {error}", file=sys.stderr)
        return 2
    except Exception:
        log.critical("the operator ends because of an error", exc_info=True)
        return 1
    return 0


async def _serve(config: OperatorConfig, listen: str, kubeconfig: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = await find_cluster(kubeconfig)
    async with AsyncExitStack() as stack:
        operator = await Operator.start(stack, config, connection)
        runner = web.AppRunner(make_app(operator, operator.metrics.registry), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        host, port = split_address(listen)
        await web.TCPSite(runner, host, port).start()
        log.info("operator is up", version=__version__, identity=operator.identity, probes=listen)
        working = asyncio.create_task(operator.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            ended = working.done()
            working.cancel()
            await asyncio.wait((working,))
        if ended:
            working.result()
    log.info("operator has ended")


class Operator:
    """The parts of a running operator."""

    def __init__(
        self,
        config: OperatorConfig,
        identity: str,
        view: ClusterView,
        leadership: Leadership,
        writer: Writer,
        metrics: OperatorMetrics,
    ) -> None:
        self.identity = identity
        self.metrics = metrics
        self.view = view
        self.leadership = leadership
        self._config = config
        self._writer = writer
        self._term: Term | None = None
        self._answers: LoadAnswers | None = None
        self._settled = False

    @classmethod
    async def start(
        cls, stack: AsyncExitStack, config: OperatorConfig, connection: Connection
    ) -> Operator:
        """Put the parts together."""
        election = config.leader_election
        rhythm = Rhythm(
            lease_duration=milliseconds(election.lease_duration) / 1000,
            renew_deadline=milliseconds(election.renew_deadline) / 1000,
            retry_period=milliseconds(election.retry_period) / 1000,
        )
        identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
        metrics = OperatorMetrics()
        # So that an audit log tells one operator from the other.
        agent = f"model-router-operator/{__version__} ({identity})"
        client = await stack.enter_async_context(KubeClient(connection, user_agent=agent))
        # On connections of its own: writes and lists must not make a renewal wait.
        lease_client = await stack.enter_async_context(
            KubeClient(connection, request_seconds=rhythm.renew_deadline / 2, user_agent=agent)
        )
        leadership = Leadership(lease_client, election.namespace, election.name, identity, rhythm)
        writer = Writer(client, leadership.time_to_write, metrics)
        view = ClusterView(client, config)
        return cls(config, identity, view, leadership, writer, metrics)

    async def run(self) -> None:
        """Follow the cluster and stand for election, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.view.run())
            tasks.create_task(self._stand_for_election())
            tasks.create_task(self._spare_the_collector())
            if self._config.keda is not None:
                tasks.create_task(self._answer_keda())

    async def _stand_for_election(self) -> None:
        # A leader that does not know the cluster yet would only keep a better one from working.
        await self.view.synced.wait()
        await self.leadership.run(self._lead)

    async def _lead(self) -> None:
        async with make_session() as session:
            polls = AgentPolls(session, self._agents_answered, self._load_changed)
            self._term = Term(
                self.view,
                self._config,
                self._writer,
                polls,
                AdapterCalls(session, PORT),
                ServerMetrics(session, self.view.pool_children.pods),
                session,
                self.metrics,
                self.identity,
            )
            try:
                await self._term.run()
            finally:
                self._term = None

    async def _answer_keda(self) -> None:
        async with make_session() as session:
            self._answers = LoadAnswers(self.view, session)
            await self._answers.run()

    async def load(self, namespace: str, pool: str) -> tuple[int, Mapping[str, Any]]:
        """Status and body of the answer about the load of a pool."""
        if self._answers is None:
            return 404, {"error": "this operator was installed without KEDA"}
        return await self._answers.answer((namespace, pool))

    def _agents_answered(self, router: tuple[str, str], news: bool, pools: Any) -> None:
        if self._term is not None:
            self._term.agents_answered(router, news, pools)

    def _load_changed(self, router: tuple[str, str], pools: Any) -> None:
        if self._term is not None:
            self._term.load_changed(router, pools)

    async def _spare_the_collector(self) -> None:
        """Once the cluster is in memory, full collections of it would only cost time."""
        await self.view.synced.wait()
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 20, 100)

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether a restart would help. An API server that is away is no reason."""
        silent = steady_clock() - self.leadership.last_step
        hangs = self.view.synced.is_set() and silent > _HUNG_SECONDS
        return not hangs, {"secondsSinceElectionStep": round(silent, 1)}

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether the cluster is known, so that this process leads or can take over at once."""
        detail = {
            **self.view.health(),
            "leader": self.leadership.leads,
            "leaseHolder": self.leadership.holder,
            "identity": self.identity,
            "time": time.time(),
        }
        return self.view.synced.is_set(), detail
