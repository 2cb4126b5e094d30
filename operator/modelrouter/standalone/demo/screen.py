"""Showing the demonstration: a live table on a terminal, else lines from time to time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from modelrouter.standalone.demo.tally import Tally
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.tables import duration, route_table
from modelrouter.standalone.viewing import event_line

_WINDOW = 3.0
"""Seconds over which shares are taken."""
_LINE_EVERY = 5.0
"""Seconds between two lines of figures where there is no terminal."""
_MOST_EVENTS = 14


class Screen:
    """What a person sees of the demonstration."""

    def __init__(self, tally: Tally, plain: bool) -> None:
        self._tally = tally
        self._console = Console(highlight=False, soft_wrap=plain)
        self._plain = plain or not self._console.is_terminal
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._act = "starting"
        self._live: Live | None = None

    def open(self) -> None:
        """Begin."""
        if not self._plain:
            self._live = Live(
                console=self._console,
                get_renderable=self._render,
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()

    def close(self) -> None:
        """End; what happened stays to be read."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._console.print(self._render())

    def tell(self, event: Event) -> None:
        """Something happened."""
        if event.level is Level.DETAIL:
            return
        self._events.append(event)
        if self._plain:
            mark = {Level.WARNING: "! ", Level.ERROR: "error: "}.get(event.level, "")
            self._console.print(f"{event.clock} {mark}{event.text}", markup=False)

    def act(self, title: str) -> None:
        """A new part of the story begins."""
        self._act = title
        if self._plain:
            self._console.print(f"\n== {title}", markup=False)
        else:
            self._events.append(Event(Level.INFO, f"— {title}"))

    def conclude(self, lines: Sequence[tuple[str, str]], good: bool, wrong: Sequence[str]) -> None:
        """The result: figures, then what went wrong."""
        if self._plain:
            print("\n== Summary")
            for name, value in lines:
                print(f"{name:<34}{value}")
            for line in wrong:
                print(line)
            return
        self._console.print(summary_table(lines, good))
        for line in wrong:
            self._console.print(line, style="red", markup=False)

    async def refresh(self) -> None:
        """Keep what is shown up to date, for ever."""
        while True:
            await asyncio.sleep(_LINE_EVERY)
            if self._plain:
                for line in figures_lines(self._tally, time.monotonic()):
                    self._console.print(line, markup=False)

    def _render(self) -> RenderableType:
        rows = self._tally.shares(time.monotonic(), _WINDOW)
        parts: list[RenderableType] = [Rule(Text(self._act, "bold"), align="left")]
        if rows:
            parts.append(route_table(rows, {}))
            failures = len(self._tally.failures)
            style = "bold red" if failures else "green"
            parts.append(
                Text.assemble(
                    f"{len(self._tally.answers)} requests, ", (f"{failures} failed", style)
                )
            )
        return Group(*parts, Text(), *(event_line(event) for event in self._events))


def summary_table(lines: Sequence[tuple[str, str]], good: bool) -> Table:
    """The lines as a table, green or red."""
    table = Table(
        title="Every request was answered" if good else "Something went wrong",
        title_style="bold green" if good else "bold red",
        title_justify="left",
        box=box.SIMPLE,
        show_header=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in lines:
        style = "" if name != "failures" else "bold green" if value == "0" else "bold red"
        table.add_row(name, Text(value, style))
    return table


def figures_lines(tally: Tally, now: float) -> list[str]:
    """The table's rows as lines of text."""
    lines = []
    for row in tally.shares(now, _LINE_EVERY):
        if row.per_second:
            lines.append(
                f"  {row.route} -> {row.pool:<9} {row.recent_share * 100:3.0f} %  "
                f"{row.per_second:5.1f} req/s  p50 {duration(row.p50_ms):>7}  "
                f"p99 {duration(row.p99_ms):>7}  first token {duration(row.first_byte_p50_ms):>7}  "
                f"tokens {row.prompt_tokens} in, {row.completion_tokens} out  "
                f"failed {row.errors}"
            )
    return lines
