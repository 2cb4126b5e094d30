"""Names of Services, as clients in the cluster use them."""

from __future__ import annotations

from cluster.kubernetes.images import operator_image_name
from cluster.node.workloads import MODEL_PORT, Workloads

_ASK = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).status)
"""


def test_a_pod_reaches_a_service_by_its_name(workloads: Workloads) -> None:
    workloads.serve_model("llama", "llama")
    url = f"http://llama.{workloads.namespace}.svc:{MODEL_PORT}/health"
    command = ["python3", "-c", _ASK]
    printed = workloads.run("ask", operator_image_name(), command=command, args=[url])
    assert printed == "200\n"
