"""A whole router on this machine: Envoy, the agent and simulated servers, following manifests."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.events import Event, Level, Tell
from modelrouter.standalone.loglines import agent_event, envoy_event
from modelrouter.standalone.observing import AdminClient
from modelrouter.standalone.options import (
    OptionError,
    RunOptions,
    default_concurrency,
    secrets_from_environment,
)
from modelrouter.standalone.ports import free_port, is_free, wait_until_reachable
from modelrouter.standalone.processes import DRAIN_SECONDS, Places, agent_command, envoy_command
from modelrouter.standalone.publishing import Publication, Publisher, RouterFiles
from modelrouter.standalone.simulating import Simulations
from modelrouter.standalone.supervising import Child, Command, Death
from modelrouter.standalone.watching import edits, last_change

START_TIMEOUT = 30.0
"""Seconds in which each part has to come up the first time."""
_MOST_DEATHS = 3
"""Deaths of one part during the start after which there is no point in going on."""
_SERVER_START = 10.0
"""Seconds that simulated servers get to listen before the router goes on without them."""
_LIVE_TIMEOUT = 10.0
"""Seconds in which Envoy should acknowledge a configuration; a person is told when it does not."""
_DRAIN = DRAIN_SECONDS + 5.0
"""Seconds until an agent that should have drained and ended is killed."""


class StartError(Exception):
    """The router cannot start; the message says why."""


class StandaloneRouter:
    """A running router. As a context manager it ends, with all its processes, on leaving."""

    def __init__(self, options: RunOptions, runtime: Path, tell: Tell) -> None:
        self.options = options
        self.tell = tell
        self._envoy = find_envoy(options.envoy)
        self._files = RouterFiles(runtime)
        secrets = secrets_from_environment(options.secret_env, os.environ)
        self._publisher = Publisher(self._files, options.router, options.namespace, secrets)
        self._simulations = Simulations()
        self._words: dict[str, deque[str]] = {}
        self._deaths: dict[str, int] = {}
        self._canaries: Sequence[str] = ()
        self._started = False
        self.places = choose_places(options, self._files)
        self.admin = AdminClient(self.places.admin_host, self.places.admin_port)
        self.children: dict[str, Child] = {}
        """`agent`, `envoy` and the simulated servers, by name."""
        self.publication: Publication | None = None
        """What became of the manifests as they are now."""
        self.live_version = ""
        """The version that Envoy has acknowledged last."""
        self.live_since = 0.0
        """When it did: seconds since the epoch."""

    async def __aenter__(self) -> Self:
        await self.admin.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        await self.admin.__aexit__(kind, error, traceback)

    async def start(self) -> None:
        """Start everything and wait until requests can be served."""
        publication = await self._publish()
        if publication.config is None and not self._has_last_good():
            lines = "\n".join(f"  {problem}" for problem in publication.problems)
            raise StartError(f"there is nothing to serve\n{lines}")
        if publication.problems:
            what = "not applied" if publication.refused else "left out"
            self.tell(Event(Level.ERROR, _problem_text(what, publication)))
        self._tell_canaries(publication)
        self._add(agent_command(self.places, self.options.log_level)).start()
        await self._wait_for("agent", self._files.bootstrap.exists)
        self._add(envoy_command(self._envoy, self.places)).start()
        await self._wait_for("envoy", lambda: bool(self.live_version), self._ask_version)
        await self._wait_for("agent", lambda: self._started, self._ask_readiness)
        self.tell(Event(Level.GOOD, f"ready: {self.places.url}"))

    async def follow(self) -> None:
        """Apply every edit of the manifests, for ever."""
        async for _ in edits(self.options.paths):
            noticed = time.time()
            # The time of the save itself, unless the file brought an older one along.
            saved = last_change(self.options.paths)
            try:
                await self._apply(saved if noticed - 2 < saved <= noticed else noticed)
            except OSError as error:
                self.tell(Event(Level.ERROR, f"the manifests cannot be applied: {error}"))

    async def stop(self) -> None:
        """End everything: the agent first, which sees Envoy's open requests through."""
        agent, envoy = self.children.get("agent"), self.children.get("envoy")
        for child in self.children.values():
            child.retire()
        if agent:
            await agent.stop(_DRAIN if self._started else 3.0)
        if envoy:
            await envoy.stop(3.0)
        await asyncio.gather(*(child.stop(2.0) for child in self.children.values()))

    def kill(self) -> None:
        """End everything at once."""
        for child in self.children.values():
            child.kill()

    @property
    def serves(self) -> dict[str, list[str]]:
        """By route, the virtual models in force."""
        config = self.publication.config if self.publication else None
        return {name: route.models for name, route in config.routes.items()} if config else {}

    async def _apply(self, saved: float) -> None:
        before = self.publication
        publication = await self._publish()
        if publication.refused:
            self.tell(Event(Level.ERROR, _problem_text("not applied", publication)))
            return
        if before and before.problems and not publication.problems:
            self.tell(Event(Level.GOOD, "the manifests are in order again"))
        self._tell_canaries(publication)
        if not publication.changed:
            return
        if publication.version == self.live_version:
            # Keys are no part of a version: there is none to wait for.
            text = f"configuration {publication.version} stays; keys that are new are used at once"
            self.tell(Event(Level.GOOD, text))
            return
        version = await self._acknowledged(publication.version)
        took = (self.live_since - saved) * 1000
        if version:
            self.tell(
                Event(Level.GOOD, f"configuration {version} live {took:.0f} ms after the save")
            )
        else:
            text = f"configuration {publication.version} is not live after {_LIVE_TIMEOUT:.0f} s"
            self.tell(Event(Level.WARNING, text))

    def _tell_canaries(self, publication: Publication) -> None:
        """Tell once that canaries do nothing here."""
        new = [route for route in publication.canaries if route not in self._canaries]
        self._canaries = publication.canaries
        if new:
            text = (
                f"{', '.join(new)}: only the operator moves a canary on; here all requests stay "
                f"with the pool that its `from` names"
            )
            self.tell(Event(Level.WARNING, text))

    async def _publish(self) -> Publication:
        draft = await asyncio.to_thread(self._publisher.read, self.options.paths)
        if self.options.simulate and self._publisher.accepts(draft):
            await self._simulations.update(draft.pools)
            await self._start_servers()
        addresses = self._simulations.addresses
        publication = await asyncio.to_thread(self._publisher.publish, draft, addresses)
        self.publication = publication
        if agent := self.children.get("agent"):
            agent.send(signal.SIGHUP)  # there may be something new to read
        if self.options.simulate and not publication.refused:
            await self._stop_servers()
        return publication

    async def _acknowledged(self, version: str) -> str:
        """Wait until Envoy runs on a version; empty when it does not come to that."""
        deadline = time.monotonic() + _LIVE_TIMEOUT
        while (left := deadline - time.monotonic()) > 0:
            live = await self.admin.version(after=self.live_version, wait=min(left, 5.0))
            if live is None:
                await asyncio.sleep(0.05)
            elif live != self.live_version:
                self.live_version, self.live_since = live, time.time()
            if live == version:
                return version
        return ""

    async def _ask_version(self) -> None:
        version = await self.admin.version()
        if version:
            self.live_version, self.live_since = version, time.time()

    async def _ask_readiness(self) -> None:
        readiness = await self.admin.readiness()
        self._started = readiness is not None and readiness.ready

    async def _wait_for(
        self,
        name: str,
        arrived: Callable[[], bool],
        ask: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Wait for a part to come up, asking again and again; give up when it keeps dying."""
        deadline = time.monotonic() + START_TIMEOUT
        while not arrived():
            if self._deaths.get(name, 0) >= _MOST_DEATHS or time.monotonic() > deadline:
                words = "\n".join(f"  {line}" for line in self._words.get(name, ()))
                raise StartError(f"the {name} does not come up; its last words:\n{words}")
            if ask is not None:
                await ask()
            await asyncio.sleep(0.01)

    async def _start_servers(self) -> None:
        new = []
        for server in self._simulations.servers.values():
            known = self.children.get(server.name)
            if known is None or known.command != server.command:
                if known is not None:
                    await known.stop(2.0)
                self._add(server.command).start()
                new.append(server)
        waits = (wait_until_reachable(s.host, s.port, _SERVER_START) for s in new)
        answers = await asyncio.gather(*waits)
        up = [s for s, answered in zip(new, answers, strict=True) if answered]
        if up:
            names = ", ".join(f"{server.name} on {server.address}" for server in up)
            self.tell(Event(Level.INFO, f"simulated model servers: {names}"))
        for server in set(new) - set(up):
            words = " / ".join(self._words.get(server.name, ()))
            text = f"simulated server {server.name} does not come up on {server.address}: {words}"
            self.tell(Event(Level.WARNING, text))

    async def _stop_servers(self) -> None:
        wanted = {"agent", "envoy", *self._simulations.servers}
        gone = [child for name, child in self.children.items() if name not in wanted]
        for child in gone:
            del self.children[child.name]
            self.tell(Event(Level.INFO, f"simulated server {child.name} is not needed any more"))
        await asyncio.gather(*(child.stop(2.0) for child in gone))

    def _add(self, command: Command) -> Child:
        child = self.children[command.name] = Child(command, self)
        return child

    def _has_last_good(self) -> bool:
        return (self.places.state_dir / "last-good.json").exists()

    # What the children do: this object is their observer.

    def started(self, name: str, pid: int, starts: int) -> None:
        """A child was started."""
        if starts > 1:
            self.tell(Event(Level.INFO, f"{name} started again (pid {pid})"))

    def died(self, death: Death) -> None:
        """A child ended that nobody had asked to."""
        self._deaths[death.name] = self._deaths.get(death.name, 0) + 1
        self.tell(Event(Level.WARNING, death_text(death)))

    def said(self, name: str, line: str) -> None:
        """A child wrote a line."""
        self._words.setdefault(name, deque(maxlen=12)).append(line)
        if name == "agent":
            self.tell(agent_event(line))
        elif name == "envoy":
            self.tell(envoy_event(line))


def death_text(death: Death) -> str:
    """A death as a sentence."""
    when = "stays down"
    if death.restart_in is not None:
        when = f"back in {death.restart_in:.0f} s" if death.restart_in >= 1 else "back at once"
    if death.pid is None:
        return f"{death.name} {death.reason}; {when}"
    return f"{death.name} (pid {death.pid}) died: {death.reason}; {when}"


def choose_places(options: RunOptions, files: RouterFiles) -> Places:
    """Where a router's parts meet, with free ports where none was asked for."""
    # Figures and problems are nobody else's business, wherever requests may come from.
    admin_host = "127.0.0.1"
    return Places(
        files,
        state_dir=options.state_dir or files.directory / "state",
        host=options.host,
        port=_port("--port", options.host, options.port),
        admin_host=admin_host,
        admin_port=_port("--admin-port", admin_host, options.admin_port),
        void_port=free_port("127.0.0.1"),
        concurrency=max(1, options.envoy_concurrency or default_concurrency()),
    )


def _port(option: str, host: str, port: int) -> int:
    if port == 0:
        return free_port(host)
    if not is_free(port, host):
        raise OptionError(f"{option} {port}: the port is taken on {host}; choose another, or 0")
    return port


def _problem_text(what: str, publication: Publication) -> str:
    problems = [str(problem) for problem in publication.problems]
    if len(problems) == 1:
        return f"{what}: {problems[0]}"
    return "\n".join([f"{what}: {len(problems)} problems", *(f"  {text}" for text in problems)])
