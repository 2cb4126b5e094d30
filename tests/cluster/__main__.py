"""A real Kubernetes on this machine, for tests and to look around in.

python -m cluster build                compile the pinned tools once (about 7 minutes on 2 cores)
python -m cluster up [--node]          run a cluster until Ctrl-C
python -m cluster exec CMD…            run a command in the network of a cluster that runs
python -m cluster with [--node] CMD…   run a cluster for as long as a command runs, in its network
python -m cluster load ARCHIVE.tar     put images on the node
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.kubernetes import packages, tools
from cluster.kubernetes.access import Kubernetes, must_not_skip
from cluster.kubernetes.images import build_images
from cluster.kubernetes.node import check_node
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.running import Cluster, find, running
from cluster.kubernetes.supervising import supervise
from cluster.showing import show

_CLONE_NEWNET = 0x40000000


def main() -> int:
    """The command line; returns the exit code."""
    chosen = _parser().parse_args()
    try:
        match chosen.command:
            case "packages":
                packages.install()
            case "build":
                print(tools.build())
            case "supervise":
                return supervise(chosen.tools, chosen.run_folder, node=chosen.node)
            case "images":
                for image in build_images():
                    print(f"{image.name}: {image.archive}")
            case "up":
                _up(chosen.run, chosen.node)
            case "show":
                packages.install()
                _show(chosen.run)
            case "with":
                return _with(chosen.run, chosen.node, chosen.argv)
            case "exec":
                _exec(find(chosen.run), chosen.argv)
            case "load":
                find(chosen.run).load(build_images())
    except ClusterError as error:
        if chosen.or_skip and not must_not_skip():
            print(f"skipped: {error}", file=sys.stderr)
            return 0
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path(tempfile.gettempdir()) / f"modelrouter-cluster-{os.geteuid()}"
    parser.add_argument(
        "--run", type=Path, default=default, help=f"the cluster's folder (default: {default})"
    )
    parser.add_argument(
        "--or-skip", action="store_true", help="no error where it cannot be (unless CI is set)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="compile the tools")
    up = commands.add_parser("up", help="run a cluster until Ctrl-C")
    during = commands.add_parser("with", help="run a cluster for as long as a command runs")
    for command in (up, during):
        command.add_argument("--node", action="store_true", help="with a node for pods (root)")
    commands.add_parser("packages", help="install what a node needs")
    commands.add_parser("show", help="run a cluster with the chart and the example")
    inside = commands.add_parser("exec", help="run a command in the cluster's network")
    for command in (during, inside):
        command.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    commands.add_parser("images", help="build the images")
    commands.add_parser("load", help="build the images anew and put them on a running node")
    hidden = commands.add_parser("supervise")
    hidden.add_argument("tools", type=Path)
    hidden.add_argument("run_folder", type=Path)
    hidden.add_argument("--node", action="store_true")
    return parser


def _up(run: Path, node: bool) -> None:
    _end_in_order()
    with _ready(run, node) as cluster:
        path = f"PATH={cluster.tools / 'bin'}:$PATH"
        seconds = f"{cluster.seconds:.0f} s"
        print(f"ready in {seconds}: export KUBECONFIG={cluster.kubeconfig} {path}", flush=True)
        cluster.wait()


def _show(run: Path) -> None:
    _end_in_order()
    with _ready(run, node=True) as cluster:
        enter(cluster)
        print(show(Kubernetes(cluster.kubeconfig, cluster, cluster.tools / "bin")), flush=True)
        cluster.wait()


def _end_in_order() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def _with(run: Path, node: bool, argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _ready(run, node) as cluster:
        command = [sys.executable, "-m", "cluster", "--run", str(run), "exec", *argv]
        return subprocess.run(command, env=cluster.environment, check=False).returncode


@contextmanager
def _ready(run: Path, node: bool) -> Iterator[Cluster]:
    if node:
        check_node()
    images = build_images() if node else []
    with running(run, node=node) as cluster:
        cluster.load(images)
        yield cluster


def _exec(cluster: Cluster, argv: list[str]) -> None:
    if cluster.node:
        enter(cluster)
    os.environ.update(cluster.environment)
    os.execvp(argv[0], argv)


def enter(cluster: Cluster) -> None:
    """Move this thread, and all that it starts from here on, into the cluster's network."""
    with Path(f"/proc/{cluster.supervisor}/ns/net").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise ClusterError(f"cannot enter the cluster's network: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main())
