"""`modelrouter canary …`: canaries, on a cluster and on paper."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modelrouter.cli.canary_routes import CanaryRoutes, Place
    from modelrouter.cli.levers import Order, Seen

app = typer.Typer(
    name="canary",
    help="Look at canaries, steer them, and try their analysis on simulated traffic.",
    no_args_is_help=True,
)

NOT_PROMOTED, FAILED, TIMED_OUT = 1, 2, 3
"""Exit codes: the canary has ended otherwise; the command could not be carried out; `--wait` was
in vain."""

Route = Annotated[str, typer.Argument(metavar="NAME", help="The ModelRoute.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Its namespace, if not the kubeconfig's.")
]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Instead of $KUBECONFIG or ~/.kube/config.", show_default=False)
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig to use.")]


class Format(StrEnum):
    """How a status is printed."""

    TABLE = "table"
    JSON = "json"


@app.command()
def status(
    name: Route,
    namespace: Namespace = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="For people, or JSON.")] = (
        Format.TABLE
    ),
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait until it has ended: exit code 0 if promoted, 1 if rolled back or aborted.",
        ),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds to wait at most, with --wait; then exit code 3."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show how far a route's canary is, and what its last analysis found."""
    from modelrouter.api.canary_status import CanaryPhase
    from modelrouter.cli.canary_view import headline
    from modelrouter.cli.levers import ENDED

    def has_ended(seen: Seen) -> bool:
        return seen.status is not None and seen.status.phase in ENDED and seen.up_to_date

    said = ""

    def tell(seen: Seen) -> None:
        nonlocal said
        line = headline(seen).plain
        if line != said:
            typer.echo(line, err=True)
        said = line

    async def look(routes: CanaryRoutes) -> None:
        if not wait:
            _show(await routes.get(name), output)
            return
        seen = await routes.wait(name, has_ended, tell, timeout)
        if seen is None:
            typer.echo(f"modelrouter: it has not ended within {timeout:g} s", err=True)
            raise typer.Exit(TIMED_OUT)
        _show(seen, output)
        if seen.status is None or seen.status.phase is not CanaryPhase.PROMOTED:
            raise typer.Exit(NOT_PROMOTED)

    _run(_place(kubeconfig, context, namespace), look)


@app.command()
def promote(
    name: Route,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Give everything to the new pool now, whatever the analysis says."""
    from modelrouter.cli.levers import promote as lever

    _pull(_place(kubeconfig, context, namespace), name, lever)


@app.command()
def abort(
    name: Route,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Give everything back to the stable pool now."""
    from modelrouter.cli.levers import abort as lever

    _pull(_place(kubeconfig, context, namespace), name, lever)


@app.command()
def pause(
    name: Route,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Keep the weight as it is until `resume`."""
    from modelrouter.cli.levers import pause as lever

    _pull(_place(kubeconfig, context, namespace), name, lever)


@app.command()
def resume(
    name: Route,
    namespace: Namespace = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Only if the canary is at this step.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Go on after `pause`, or let a step end that has no duration."""
    from modelrouter.cli.levers import resume as lever

    _pull(_place(kubeconfig, context, namespace), name, lambda seen: lever(seen, step))


@app.command()
def simulate(
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--filename", "-f", help="Manifests with the canary to try, instead of a ready one."
        ),
    ] = None,
    route: Annotated[str, typer.Option(help="Its ModelRoute, if several have a canary.")] = "",
    requests: Annotated[
        int, typer.Option(min=4, help="Of the candidate, in the time that a step takes at least.")
    ] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Canaries for each candidate.")] = 1000,
    stable_error_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the stable pool's requests that fail.")
    ] = 0.01,
    error_rate: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, show_default="0.03 more", help="The same of the failing candidate."
        ),
    ] = None,
    latency_factor: Annotated[
        float, typer.Option(min=0.1, max=20, help="How much longer the slow candidate takes.")
    ] = 1.3,
    steps: Annotated[
        str, typer.Option(help="Weights in percent; not with --filename.", show_default="5,25,50")
    ] = "",
    min_requests: Annotated[
        int, typer.Option(min=1, help="As analysis.minRequests; not with --filename.")
    ] = 100,
) -> None:
    """Try an analysis on random traffic: an equal, a failing and a slow candidate.

    It runs the judge and the state machine of the operator, for a thousand canaries each, and tells
    how many are promoted or rolled back and how many requests that takes.
    """
    from modelrouter.cli.rehearsing import (
        Rehearsal,
        RehearsalError,
        canary_of,
        ready_made,
        rehearse,
    )

    try:
        if files:
            canary = canary_of(files, route)
        else:
            canary = ready_made(
                [int(step) for step in (steps or "5,25,50").split(",")], min_requests
            )
    except RehearsalError as error:
        typer.echo(error, err=True)
        raise typer.Exit(FAILED) from None
    except ValueError:
        raise typer.BadParameter("--steps takes growing weights of 1 to 100, as 5,25,50") from None
    worse = min(stable_error_rate + 0.03, 1.0) if error_rate is None else error_rate
    given = Rehearsal(canary, requests, seeds, stable_error_rate, worse, latency_factor)
    for line in rehearse(given):
        typer.echo(line)


def _pull(place: Place, name: str, lever: Callable[[Seen], Order]) -> None:
    async def give(routes: CanaryRoutes) -> None:
        order = await routes.give(name, lever)
        typer.echo(f"{name}: {order.told}")

    _run(place, give)


def _place(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Place:
    from modelrouter.cli.canary_routes import Place

    return Place(kubeconfig, context, namespace)


def _run(place: Place, work: Callable[[CanaryRoutes], Awaitable[None]]) -> None:
    """Reach the cluster and do something there; what cannot be done is told and ends it."""
    import asyncio

    from modelrouter.cli.canary_routes import canary_routes
    from modelrouter.cli.levers import LeverError
    from modelrouter.kube.connection import NoClusterError
    from modelrouter.kube.errors import KubeError

    async def run() -> None:
        async with canary_routes(place) as routes:
            await work(routes)

    try:
        asyncio.run(run())
    except (LeverError, NoClusterError, KubeError) as error:
        typer.echo(f"modelrouter: {error}", err=True)
        raise typer.Exit(FAILED) from None


def _show(seen: Seen, output: Format) -> None:
    import json
    from datetime import UTC, datetime

    from rich.console import Console

    from modelrouter.cli.canary_view import document, views

    if output is Format.JSON:
        typer.echo(json.dumps(document(seen), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for view in views(seen, datetime.now(UTC)):
        console.print(view)
