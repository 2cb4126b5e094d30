"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from modelrouter.standalone.observing import PoolHealth, PoolShare

_BAR = 8
"""Characters of a share's bar."""
_PADDING = (0, 0, 0, 0)


def route_table(shares: Sequence[PoolShare], routes: Mapping[str, Sequence[str]]) -> Table:
    """Route → pool: who answers how much, how fast."""
    table = Table(box=box.SIMPLE_HEAD, padding=_PADDING, pad_edge=False)
    for name in ("route", "pool", "share now"):
        table.add_column(name, no_wrap=True)
    for name in ("req/s", "requests", "errors", "p50", "p99", "1st byte", "tokens in/out"):
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    known = {share.route for share in shares}
    for share in shares:
        if previous and share.route != previous:
            table.add_section()
        table.add_row(
            "" if share.route == previous else Text(share.route, "bold"),
            share.pool,
            share_bar(share.recent_share),
            f"{share.per_second:.1f}",
            count(share.requests),
            Text(count(share.errors), "bold red" if share.errors else "dim"),
            duration(share.p50_ms),
            duration(share.p99_ms),
            duration(share.first_byte_p50_ms),
            f"{count(share.prompt_tokens)}/{count(share.completion_tokens)}",
        )
        previous = share.route
    for route in routes:
        if route not in known:
            table.add_row(Text(route, "bold"), Text("no requests yet", "dim"))
    return table


def pool_table(pools: Sequence[PoolHealth]) -> Table:
    """Pools with their endpoints."""
    table = Table(box=box.SIMPLE_HEAD, padding=_PADDING, pad_edge=False)
    table.add_column("pool")
    table.add_column("endpoints ready")
    table.add_column("in flight", justify="right")
    for pool in pools:
        table.add_row(pool.pool, readiness(pool), str(pool.in_flight))
    return table


def readiness(pool: PoolHealth) -> Text:
    """How many of a pool's endpoints are ready, to be seen at a glance."""
    if pool.ready is None or pool.endpoints is None:
        return Text("not known yet", "dim")
    style = "green" if pool.ready >= pool.endpoints else "yellow" if pool.ready else "bold red"
    dots = "●" * min(pool.ready, 16) + "○" * min(pool.endpoints - pool.ready, 16)
    return Text.assemble((f"{dots} ", style), f"{pool.ready} of {pool.endpoints}")


def share_bar(share: float) -> Text:
    """A share as a bar and in percent."""
    filled = round(share * _BAR)
    return Text.assemble(
        ("━" * filled, "cyan"), ("─" * (_BAR - filled), "dim"), f" {share * 100:3.0f} %"
    )


def count(number: int) -> str:
    """A number short enough for a column: `12.3k`, `4.5M`."""
    if number < 10_000:
        return str(number)
    if number < 1_000_000:
        return f"{number / 1_000:.1f}k"
    return f"{number / 1_000_000:.1f}M"


def duration(milliseconds: float | None) -> str:
    """A time short enough for a column: `12 ms`, `1.2 s`."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
