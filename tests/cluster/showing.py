"""A cluster to look around in: chart installed, example applied, simulated models as pods."""

from __future__ import annotations

from pathlib import Path

from cluster.kubernetes.access import Kubernetes
from cluster.node.installation import EXAMPLE, MODEL, ROUTER, SYSTEM, install_operator

_GUIDE = """
The operator runs in namespace {system}, the example in namespace default.
In another terminal:

  make cluster-shell                      # a shell in the cluster's network, with kubectl and helm
  kubectl get mroute,mpool,pods
  kubectl edit mroute {model}   # move a weight; the router follows within a second
  curl -i {url}/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

Ctrl-C ends it and leaves nothing behind.
"""


def show(kubernetes: Kubernetes) -> str:
    """Install and apply everything, wait until it serves, and return how to use it."""
    print("installing the chart", flush=True)
    install_operator(kubernetes)
    print(f"applying {_short(EXAMPLE)}", flush=True)
    kubernetes.kubectl("apply", "--server-side", "-f", str(EXAMPLE))
    kubernetes.kubectl(
        "wait", "--for=condition=Ready", "mroute,mpool", "--all", "--timeout=120s", timeout=150
    )
    address = kubernetes.kubectl("get", "service", ROUTER, "-o", "jsonpath={.spec.clusterIP}")
    print(kubernetes.kubectl("get", "mroute,mpool"), flush=True)
    return _GUIDE.format(system=SYSTEM, model=MODEL, url=f"http://{address}:8080/v1")


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:]) + "/"
