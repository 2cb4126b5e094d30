"""A canary's status for people, and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelrouter.api.canary_status import CanaryPhase, CanaryStatus, CheckResult
from modelrouter.cli.levers import Seen

_PHASES = {
    CanaryPhase.PENDING: "yellow",
    CanaryPhase.PROGRESSING: "cyan",
    CanaryPhase.PAUSED: "yellow",
    CanaryPhase.PROMOTED: "bold green",
    CanaryPhase.ROLLED_BACK: "bold red",
    CanaryPhase.ABORTED: "bold red",
}
_RESULTS = {
    CheckResult.PASS: "green",
    CheckResult.FAIL: "bold red",
    CheckResult.INCONCLUSIVE: "yellow",
}


def document(seen: Seen) -> dict[str, Any]:
    """Everything as plain data: `status.canary`, and which route it is of."""
    return {
        "namespace": seen.namespace,
        "name": seen.name,
        "upToDate": seen.up_to_date,
        "annotation": seen.annotation,
        "canary": seen.status.document() if seen.status is not None else None,
    }


def headline(seen: Seen) -> Text:
    """Where it stands, in one line."""
    status = seen.status
    if status is None:
        return Text.assemble(
            (seen.name, "bold"), ": the operator has not looked at this canary yet"
        )
    phase = (status.phase.value, _PHASES[status.phase])
    where = f", step {status.step} of {status.steps}" if status.step else ""
    shares = f", {status.weight} % of {status.stable} to {status.candidate} (rule {status.rule})"
    return Text.assemble((seen.name, "bold"), ": ", phase, where, shares)


def views(seen: Seen, now: datetime) -> Iterator[RenderableType]:
    """All that there is to say, from top to bottom."""
    yield headline(seen)
    if not seen.up_to_date:
        yield Text("The operator has not looked at the latest change of the route yet.", "yellow")
    if seen.annotation:
        yield Text(f"Annotation: {seen.annotation}")
    if seen.status is not None and seen.status.message:
        yield Text(seen.status.message)
    yield _steps(seen, now)
    if seen.status is not None and seen.status.checks:
        yield _checks(seen.status)
    if seen.status is not None and seen.status.failures:
        limit = seen.canary.analysis.failures_before_rollback
        yield Text(f"{seen.status.failures} of {limit} failed analyses before it is rolled back")


def age(since: datetime, now: datetime) -> str:
    """How long ago, in its two largest units: `3d4h`, `12m5s`."""
    seconds = max(int((now.astimezone(UTC) - since.astimezone(UTC)).total_seconds()), 0)
    sizes = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    parts = [
        (seconds // size % limit, unit)
        for (size, unit), limit in zip(sizes, (10**9, 24, 60, 60), strict=True)
    ]
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = parts[first : first + 2]
    return "".join(f"{count}{unit}" for count, unit in shown if count or unit == parts[first][1])


def _steps(seen: Seen, now: datetime) -> Table:
    status = seen.status
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("step", "weight", "pause"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for number, step in enumerate(seen.canary.steps, 1):
        note, style = "", ""
        if status is not None:
            if status.phase is CanaryPhase.PROMOTED or number < status.step:
                note, style = "done", "dim"
            elif number == status.step:
                ended = status.phase in (CanaryPhase.ROLLED_BACK, CanaryPhase.ABORTED)
                what = f"{status.phase.value} " if ended else ""
                note = f"{what}since {age(status.since, now)}"
                if status.analysis.value:
                    note += f", analysis {status.analysis.value}"
                style = _PHASES[status.phase]
        pause = step.pause or "until resumed"
        table.add_row(str(number), f"{step.weight} %", pause, note, style=style)
    return table


def _checks(status: CanaryStatus) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column(status.candidate, justify="right")
    table.add_column(status.stable, justify="right")
    table.add_column("bound", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for check in status.checks:
        outcome = Text(check.outcome.value, _RESULTS[check.outcome])
        table.add_row(check.name, check.value or "-", check.stable or "-", check.bound, outcome)
    return table
