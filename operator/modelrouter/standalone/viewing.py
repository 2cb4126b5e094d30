"""Showing a running router to a person: a live view on a terminal, else a line per event."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections import deque
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from modelrouter.standalone.assembling import StandaloneRouter
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.observing import Figures
from modelrouter.standalone.tables import pool_table, route_table

_STYLES = {
    Level.DETAIL: "dim",
    Level.INFO: "",
    Level.GOOD: "green",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}
_REFRESH = 0.5
"""Seconds between two looks at the figures."""
_MOST_EVENTS = 8


class Audience(Protocol):
    """Whoever is told what happens."""

    def tell(self, event: Event) -> None:
        """Something happened."""

    async def watch(self, router: StandaloneRouter) -> None:
        """Follow a router that is up, for ever."""

    def close(self) -> None:
        """The show is over."""


class PlainAudience:
    """One line per event, for logs and pipes."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def tell(self, event: Event) -> None:
        mark = {Level.WARNING: "warning: ", Level.ERROR: "error: "}.get(event.level, "")
        try:
            print(f"{event.clock} {mark}{event.text}", file=self._output, flush=True)
        except BrokenPipeError:
            # Nobody reads any more; the router goes on, and what it says goes nowhere.
            self._output = io.StringIO()

    async def watch(self, router: StandaloneRouter) -> None:
        for route, models in router.serves.items():
            self.tell(Event(Level.INFO, f"route {route} serves {', '.join(models)}"))
        await asyncio.Event().wait()

    def close(self) -> None:
        self._output.flush()


class LiveAudience:
    """A view of the router that is drawn anew all the time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._figures: Figures | None = None
        self._router: StandaloneRouter | None = None
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=True
        )
        self._live.start()

    def tell(self, event: Event) -> None:
        if event.level is Level.DETAIL:
            return
        self._events.append(event)
        self._live.refresh()

    async def watch(self, router: StandaloneRouter) -> None:
        self._router = router
        while True:
            figures = await router.admin.figures()
            self._figures = figures or self._figures
            await asyncio.sleep(_REFRESH)

    def close(self) -> None:
        self._live.stop()
        # What was said last stays on the screen, without the figures.
        for event in self._events:
            self._console.print(event_line(event))

    def _render(self) -> RenderableType:
        router = self._router
        parts: list[RenderableType] = []
        if router is not None:
            parts.append(headline(router))
            figures = self._figures or Figures()
            parts.append(route_table(figures.shares, router.serves))
            parts.append(pool_table(figures.pools))
            parts.append(Panel(example(router), title="try it", title_align="left", style="dim"))
        parts += [event_line(event) for event in self._events]
        return Group(*parts)


def plain_audience() -> PlainAudience:
    """Lines on standard output."""
    return PlainAudience(sys.stdout)


def live_audience() -> LiveAudience:
    """A live view on the terminal."""
    return LiveAudience(Console())


def event_line(event: Event) -> Text:
    """An event as one line, or more for a list of problems."""
    return Text.assemble((event.clock + "  ", "dim"), (event.text, _STYLES[event.level]))


def headline(router: StandaloneRouter) -> Text:
    """Where the router is and what it runs on."""
    text = Text.assemble(("model router ", "bold"), (router.places.url, "bold cyan"))
    text.append(f"   metrics on {router.places.admin_host}:{router.places.admin_port}", "dim")
    if router.live_version:
        clock = Event(Level.INFO, "", router.live_since).clock
        text.append(f"\nconfiguration {router.live_version} live since {clock}")
    publication = router.publication
    if publication is not None and publication.problems:
        count = len(publication.problems)
        what = "not applied" if publication.refused else "left out"
        text.append(f"\n{count} problem{'s' if count > 1 else ''} ({what}): ", "bold red")
        text.append(str(publication.problems[0]), "red")
    return text


def example(router: StandaloneRouter) -> Text:
    """A command to copy."""
    model = next((models[0] for models in router.serves.values() if models), "MODEL")
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    return Text(
        f"curl -i {router.places.url}/chat/completions -H 'content-type: application/json' \\\n"
        f"  -d '{json.dumps(body)}'"
    )
