"""`modelrouter router`: the agent's process, from its start to the end of its drain."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import structlog
import uvloop
from aiohttp import web

from modelrouter.files import replace_file
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import NoClusterError, find_cluster
from modelrouter.logs import configure_logging
from modelrouter.plan.naming import child_name
from modelrouter.router.accesslog.pipe import LogPipe
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.accounting.metrics import make_registry
from modelrouter.router.admin import make_app
from modelrouter.router.agent import Agent
from modelrouter.router.decisions.metrics import ShadowCollector
from modelrouter.router.decisions.protocol import DecisionServer
from modelrouter.router.discovery import Store, discovery_handler, serve
from modelrouter.router.envoy.bootstrap import bootstrap
from modelrouter.router.envoy.holding import HOLDING_CLUSTER
from modelrouter.router.envoy.log_lines import read_line
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy_admin import EnvoyAdmin, watch_memberships
from modelrouter.router.feedback.joining import FeedbackLedger
from modelrouter.router.feedback.metrics import FeedbackCollector
from modelrouter.router.feedback.peers import Peers, router_pods
from modelrouter.router.feedback.serving import peer_routes, serve_feedback
from modelrouter.router.holding.metrics import WaitingCollector
from modelrouter.router.holding.outcomes import Outcomes
from modelrouter.router.holding.serving import HoldingServer
from modelrouter.router.inputs import ConfigSource, FileSource, Inputs
from modelrouter.router.kubernetes.draining import drain_on_request
from modelrouter.router.kubernetes.keeping import keep_endpoints
from modelrouter.router.kubernetes.metrics import WatchCollector
from modelrouter.router.kubernetes.source import ClusterSource
from modelrouter.router.last_good import LastGoodConfig
from modelrouter.router.measuring.metrics import ArmCollector
from modelrouter.router.measuring.serving import measurement_routes
from modelrouter.router.mirroring.metrics import MirrorCollector
from modelrouter.router.mirroring.serving import mirror_routes
from modelrouter.router.queues import watch_queues
from modelrouter.router.records.keeping import DecisionRecords
from modelrouter.router.records.serving import record_routes
from modelrouter.router.records.shadowed import ShadowedRequests
from modelrouter.router.settings import AgentSettings, ClusterSettings

log = structlog.get_logger(__name__)

SOURCE_PATIENCE_SECONDS = 1.0
"""How long a start waits for the source before it serves from the last good configuration."""

LETTING_GO_SECONDS = 15.0
"""Unused connections are closed within 4 s, new ones come for 5 s; this is for an Envoy that is
slow."""
LAST_ANSWERS_SECONDS = 0.5
"""Whoever asks the agent while it ends gets an answer in this time. Those that wait for news, as
the operator does for half a minute, do not hold up the end."""
DISMISSAL_SECONDS = 1.0
"""Before the end of a drain those that wait for a pool at zero are dismissed."""


def run(settings: AgentSettings) -> int:
    """Run the agent until SIGTERM or SIGINT; the exit code."""
    configure_logging(settings.log_level, settings.log_format)
    # A configuration is prepared in a thread; decisions get the interpreter back this soon.
    sys.setswitchinterval(0.0001)
    if settings.cluster is not None:
        os.umask(0o007)  # Envoy is another user of the same group
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(settings))
        except NoClusterError as error:
            log.critical("there is no cluster", reason=str(error))
            return 1
    return 0


async def _serve(settings: AgentSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    envoy = EnvoySettings(
        directory=settings.runtime_dir,
        host=settings.host,
        port=settings.port,
        void_port=settings.void_port,
    )
    ledger, store = Ledger(), Store()
    last_good = LastGoodConfig(settings.state_dir) if settings.state_dir else None
    agent = Agent(envoy, ledger, store, last_good)
    registry = make_registry(ledger, agent.programmed)
    registry.register(WaitingCollector(agent.room))
    registry.register(ShadowCollector(agent.decide.shadowing))
    registry.register(MirrorCollector(agent.mirrors))
    registry.register(ArmCollector(agent.measurements))
    outcomes = Outcomes()

    records, shadowed = DecisionRecords(), ShadowedRequests()
    records.shadows_of, agent.decide.shadowing.tell = shadowed.of, shadowed.add
    feedback = FeedbackLedger(records, agent.measurements.rate)
    registry.register(FeedbackCollector(feedback))

    def record(line: RequestRecord) -> None:
        if agent.mirrors.record(line):
            return
        waited = line.pool == HOLDING_CLUSTER
        if waited:
            line = outcomes.settle(line)
        ledger.record(line, waited=waited)
        records.add(line)
        agent.measurements.record(line)

    async with AsyncExitStack() as stack:
        cluster = None
        if settings.cluster is not None:
            cluster = await stack.enter_async_context(_watch(settings.cluster, agent))
            registry.register(WatchCollector(cluster.watches))
        pipe = LogPipe(Path(envoy.log_pipe), read_line, record)
        pipe.open()
        stack.callback(pipe.close)
        decisions = DecisionServer(envoy.decision_socket, agent.decide)
        stack.push_async_callback(decisions.stop)
        agent.is_known = lambda: decisions.is_known
        waiting = HoldingServer(
            envoy.holding_socket, envoy.again_socket, agent.room, outcomes, ledger.refused_late
        )
        stack.push_async_callback(waiting.stop)
        await stack.enter_async_context(agent.mirrors.serving())
        control = await serve(
            settings.runtime_dir / "control.sock",
            [discovery_handler(store)],
        )
        stack.push_async_callback(control.stop, None)
        admin = await stack.enter_async_context(EnvoyAdmin(settings.runtime_dir / "admin.sock"))
        peers = await stack.enter_async_context(Peers(partial(_routers, settings, agent)))
        await stack.enter_async_context(serve_feedback(envoy.feedback_socket, feedback, peers))
        more = (
            *record_routes(records),
            *measurement_routes(agent.measurements),
            *mirror_routes(agent.mirrors),
            *peer_routes(feedback, peers),
        )
        app = web.AppRunner(
            make_app(agent, registry, more),
            access_log=None,
            shutdown_timeout=LAST_ANSWERS_SECONDS,
        )
        await app.setup()
        stack.push_async_callback(app.cleanup)
        await web.TCPSite(app, settings.admin_host, settings.admin_port).start()
        # Written last: whoever waits for this file finds everything behind it ready.
        bootstrap_file = settings.runtime_dir / "envoy.json"
        replace_file(bootstrap_file, orjson.dumps(bootstrap(envoy)), mode=0o640)
        drain = partial(_drain, admin, agent, settings.drain_seconds, lets_go=cluster is not None)
        work = [
            agent.mirrors.comparer.run(),
            follow(agent, cluster or _files(settings), last_good),
            _open_when_ready(decisions, waiting, agent),
            watch_queues(agent.endpoints, lambda: agent.programmed.pools),
            watch_memberships(admin, agent.report_memberships, lambda: agent.room.occupied),
        ]
        if cluster is not None:
            work.append(cluster.run())
            work.append(drain_on_request(settings.runtime_dir, agent, drain, admin.started_at))
            if last_good is not None:
                work.append(keep_endpoints(agent.endpoints, last_good))
        tasks = [asyncio.create_task(each) for each in work]
        for task in tasks:
            task.add_done_callback(lambda task: _watch_end_of(task, stop))
        _spare_the_collector()
        log.info("agent is up", admin=f"{settings.admin_host}:{settings.admin_port}")
        await stop.wait()
        agent.start_draining()
        if cluster is None:
            # In a pod, Envoy's container asks for it before it ends, and when this one ends alone
            # Envoy goes on.
            await drain()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _files(settings: AgentSettings) -> FileSource:
    assert settings.config is not None
    problems = settings.runtime_dir / "problems.json"
    source = FileSource(settings.config, settings.secrets, problems)
    # From whoever has replaced the files and wants them read now.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, source.look)
    return source


@asynccontextmanager
async def _watch(settings: ClusterSettings, agent: Agent) -> AsyncIterator[ClusterSource]:
    connection = await find_cluster(settings.kubeconfig)
    async with KubeClient(connection) as client:
        source = ClusterSource(client, settings.namespace, settings.router, agent.endpoints)
        agent.problems_of_source = source.problems
        yield source


def _routers(settings: AgentSettings, agent: Agent) -> Sequence[str]:
    """Admin addresses of the routers that clients reach by the same address, as of now."""
    if settings.cluster is None:
        return settings.peers
    service = child_name(settings.cluster.router)
    return router_pods(agent.endpoints.services, service, settings.admin_port)


async def _open_when_ready(decisions: DecisionServer, waiting: HoldingServer, agent: Agent) -> None:
    """Answer decisions once there is a policy to decide by.

    An Envoy that outlived its agent asks at once. Until then it is better off alone: without an
    answer it uses the default chains, an agent that knows no model yet would refuse them all.
    """
    await agent.changed(after="")
    await waiting.start()
    await decisions.start()
    await asyncio.Event().wait()


async def follow(agent: Agent, source: ConfigSource, last_good: LastGoodConfig | None) -> None:
    """Bring every update of the source into force, the newest one if several wait."""
    newest: list[Inputs] = []
    arrived = asyncio.Event()

    async def collect() -> None:
        async for inputs in source.updates():
            newest[:] = [inputs]
            arrived.set()

    collecting = asyncio.create_task(collect())
    try:
        if last_good is not None:
            await _start_from_last_good(agent, newest, arrived, last_good)
        while True:
            waiting = asyncio.create_task(arrived.wait())
            await asyncio.wait((waiting, collecting), return_when=asyncio.FIRST_COMPLETED)
            if collecting.done():
                waiting.cancel()
                return collecting.result()
            arrived.clear()
            inputs = newest[0]
            await agent.apply(inputs, arrived)
    finally:
        collecting.cancel()


async def _start_from_last_good(
    agent: Agent, newest: list[Inputs], arrived: asyncio.Event, last_good: LastGoodConfig
) -> None:
    """Serve from what is kept, unless the source has a configuration in good time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(arrived.wait(), SOURCE_PATIENCE_SECONDS)
    if newest and newest[0].document is not None:
        return
    kept = last_good.load()
    if kept is not None:
        log.warning("no configuration from the source yet; starting from the last good one")
        arrived.clear()
        problems = newest[0].problems if newest else ()
        if not agent.endpoints.services.heard:
            last_good.load_endpoints(agent.endpoints.services)
        await agent.apply(replace(kept, problems=problems), arrived)


async def _drain(admin: EnvoyAdmin, agent: Agent, seconds: float, *, lets_go: bool) -> None:
    """Let requests end. New ones are still served while others learn that this router goes.

    Those that still wait for a pool at the end are told to try again. `lets_go`: Envoy closes
    connections that clients do not use, which is waited for.
    """
    if not await admin.drain():
        return
    log.info("draining", longest_seconds=seconds)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    dismissal = loop.call_at(deadline - DISMISSAL_SECONDS, agent.room.dismiss)
    idle_polls = 0
    patience = min(deadline, loop.time() + LETTING_GO_SECONDS) if lets_go else 0.0
    while loop.time() < deadline and idle_polls < 3:
        busy = await admin.active_requests() or (
            loop.time() < patience and await admin.open_connections()
        )
        idle_polls = 0 if busy else idle_polls + 1
        await asyncio.sleep(0.1)
    dismissal.cancel()
    log.info("drained", in_time=loop.time() < deadline)


def _watch_end_of(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """A background task never ends by itself: if it does, the supervisor starts a new agent."""
    if task.cancelled():
        return
    log.critical("a background task ended", error=repr(task.exception()))
    stop.set()


def _spare_the_collector() -> None:
    """Keep the garbage collector off what lives as long as the process.

    A full collection of everything imported takes 10 to 40 ms, in which nothing is decided.
    """
    gc.collect()
    gc.freeze()
    # What a large configuration adds is looked at in portions of a millisecond.
    gc.set_threshold(2_000, 2, 10_000)
