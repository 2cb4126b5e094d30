"""The `modelrouter` command. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="modelrouter",
    help="Route OpenAI-compatible traffic between pools of models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Files = Annotated[
    list[Path],
    typer.Option("--filename", "-f", help="Manifest, or directory of manifests; repeatable."),
]
RouterName = Annotated[str, typer.Option("--router", help="Router to take, if there are several.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the router.")]


def main() -> None:
    """Entry point of the console script."""
    app()


@app.command()
def lint(files: Files) -> None:
    """Check manifests. Exit code 1 if anything is wrong; each problem names file and line."""
    from modelrouter.api.manifests import load_manifests
    from modelrouter.plan.routers import plan_router, router_keys

    manifests = load_manifests(files)
    problems = list(manifests.problems)
    for namespace, router in router_keys(manifests):
        problems += plan_router(manifests, namespace, router).problems
    for problem in sorted(problems, key=lambda problem: (problem.file, problem.line)):
        typer.echo(problem)
    for other in manifests.ignored:
        typer.echo(f"{other}: not a resource of this project, ignored", err=True)
    pools, routes = len(manifests.pools), len(manifests.routes)
    typer.echo(f"{pools} ModelPools, {routes} ModelRoutes, {len(problems)} problems", err=True)
    raise typer.Exit(1 if problems else 0)


@app.command()
def render(
    files: Files,
    router: RouterName = "",
    namespace: Namespace = "",
    envoy: Annotated[
        bool, typer.Option("--envoy", help="Print the Envoy resources instead.")
    ] = False,
) -> None:
    """Print the RouterConfig that manifests compile to, as YAML."""
    import yaml

    from modelrouter.api.manifests import load_manifests
    from modelrouter.plan.routers import UnknownRouterError, choose_router, plan_router

    manifests = load_manifests(files)
    try:
        key = choose_router(manifests, namespace, router)
    except UnknownRouterError as error:
        for problem in manifests.problems:
            typer.echo(problem, err=True)
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    planned = plan_router(manifests, *key)
    problems = [*manifests.problems, *planned.problems]
    for problem in problems:
        typer.echo(problem, err=True)
    document = planned.config.document()
    if envoy:
        from modelrouter.router.envoy.rendering import render_envoy

        document = render_envoy(planned.config)
    yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True, width=100)
    raise typer.Exit(1 if problems else 0)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def simulate(context: typer.Context) -> None:
    """Run a simulated vLLM server; takes vLLM's own flags too (see `simulate --help`)."""
    from modelrouter.standalone.simulator.commandline import main as simulator

    raise typer.Exit(simulator(context.args))


@app.command()
def reference() -> None:
    """Print the reference of all fields, as Markdown."""
    from modelrouter.api.reference import field_reference

    typer.echo(field_reference(), nl=False)
