"""python -m chaos [--minutes 10] [--seed 1] [--output FILE]: in a cluster's network.

Exits with 1 unless every request was answered, and whole, while a pool was healthy.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from pathlib import Path

from chaos.running import run_chaos
from chaos.stage import MODEL, TOLD_MODEL, Stage
from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.running import find
from cluster.node.installation import install_operator
from cluster.node.workloads import Workloads

NAMESPACE = "chaos"
STREAM_MODELS = {
    "Close": (MODEL,),
    "ErrorEvent": (TOLD_MODEL,),
    "both": (MODEL, TOLD_MODEL),
}


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what happens (any)")
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second (%(default)s)")
    parser.add_argument(
        "--broken-streams",
        choices=sorted(STREAM_MODELS),
        default="ErrorEvent",
        help="brokenStreams of the routes that streams take, or both in turns (%(default)s)",
    )
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    seed = random.randrange(10_000) if chosen.seed is None else chosen.seed
    try:
        cluster = find(Path(os.environ.get("MODELROUTER_CLUSTER", "")))
    except ClusterError as error:
        print(f"{error}: run `make chaos`", file=sys.stderr)
        return 2
    kubernetes = Kubernetes(cluster.kubeconfig, cluster, cluster.tools / "bin")
    print("installing the chart", flush=True)
    install_operator(kubernetes)
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kubernetes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE)
    stage = Stage(Workloads(kubernetes, NAMESPACE))
    base_url = stage.set_up()
    print(f"seed {seed}", flush=True)
    run = run_chaos(
        stage,
        base_url,
        seed=seed,
        seconds=chosen.minutes * 60,
        rate=chosen.rate,
        stream_models=STREAM_MODELS[chosen.broken_streams],
        say=_say,
    )
    print(run, flush=True)
    if chosen.output:
        figures = {"seed": seed, "seconds": run.seconds, "done": run.done}
        chosen.output.write_text(json.dumps(figures | run.verdict.as_json(), indent=2) + "\n")
    return 0 if run.verdict.holds else 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
