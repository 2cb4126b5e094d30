"""How soon a pod that leaves its EndpointSlice gets no more requests.

The pods, routers and requests are real. The slice is written by the test instead of Kubernetes' own
controller, so that it is known when a pod left; the pod's server tells when its last request came.
The figures are printed (`pytest -s`). What is asserted leaves room for a machine that does other
things at the same time.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from cluster.agents import endpoint, endpoint_slice
from cluster.node.away import no_operator
from cluster.node.installation import ROUTER
from cluster.node.workloads import MODEL_PORT, Workloads, model_servers
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import find_cluster
from modelrouter.kube.resources import ENDPOINT_SLICES

MODEL = "acme/leaving"
PODS = 3
LEAVES = 60
CLIENTS = 4
SETTLE_SECONDS = 0.25
"""After this no request of a pod that left is expected any more."""


@dataclass(slots=True)
class Load:
    """Requests one after the other on kept connections, as many as go."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def load(url: str) -> Iterator[Load]:
    """As long as the context lasts."""
    seen, stop = Load(), threading.Event()
    clients = [threading.Thread(target=_ask, args=(url, seen, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield seen
    finally:
        stop.set()
        for client in clients:
            client.join()


def _ask(url: str, seen: Load, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    message = {"role": "user", "content": "Hi"}
    body = json.dumps({"model": "leaving", "max_tokens": 1, "messages": [message]})
    while not stop.is_set():
        try:
            headers = {"content-type": "application/json"}
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
            connection.close()
        else:
            problem = "" if answer.status == 200 else f"{answer.status} {content[:200]!r}"
        with seen.lock:
            seen.answered += not problem
            seen.failures += [problem] if problem else []
    connection.close()


class Slice:
    """The EndpointSlice of a Service whose pods are those of the test."""

    def __init__(self, client: KubeClient, namespace: str, addresses: Sequence[str]) -> None:
        self._client, self._namespace = client, namespace
        self.addresses = addresses

    async def write(self, *gone: str) -> tuple[float, float]:
        """Some pods are not ready. When it was sent and answered: seconds since 1970."""
        ready = [endpoint(each, ready=each not in gone) for each in self.addresses]
        changed = endpoint_slice("leaving-a", *ready, service="leaving", ports={"http": MODEL_PORT})
        changed["metadata"]["namespace"] = self._namespace
        sent = time.time()
        await self._client.apply(ENDPOINT_SLICES, changed, manager="kubectl")
        return sent, time.time()


@pytest.fixture
async def served(operator: None, workloads: Workloads) -> AsyncIterator[Slice]:
    """Three model pods, and a router that serves them."""
    addresses = _serve(workloads)
    async with KubeClient(await find_cluster(workloads.kubernetes.kubeconfig)) as client:
        written = Slice(client, workloads.namespace, addresses)
        await written.write()
        ready = ("wait", "--for=condition=Ready", "mroute/leaving", "--timeout=100s")
        await asyncio.to_thread(workloads.kubectl, *ready)
        rollout = ("rollout", "status", f"deployment/{ROUTER}", "--timeout=100s")
        await asyncio.to_thread(workloads.kubectl, *rollout)
        yield written


async def test_a_pod_that_leaves_gets_nothing_more_at_once(
    served: Slice, workloads: Workloads
) -> None:
    url = workloads.service_url(ROUTER, 8080)
    with_operator = await _measure(url, served, "with the operator")
    with no_operator(workloads.kubernetes):
        without = await _measure(url, served, "without the operator")
    for seconds in (with_operator, without):
        assert _quantile(seconds, 0.5) < 0.1


async def test_pods_replaced_all_at_once_cost_nothing(served: Slice, workloads: Workloads) -> None:
    """As when a Service selects another Deployment: at that moment no new pod has been probed."""
    blue, green, _ = served.addresses
    with load(workloads.service_url(ROUTER, 8080)) as seen:
        for pause in [1.5] * 10 + [0.2] * 20:
            await served.write(*(each for each in served.addresses if each != blue))
            await asyncio.sleep(pause)
            blue, green = green, blue
        await asyncio.sleep(2)
        await _gets_traffic(green)
        received = (await _received(blue, 0))["total"]
        await asyncio.sleep(1)
        assert (await _received(blue, 0))["total"] == received, "it stays in use"
    assert not seen.failures, f"{len(seen.failures)} of {seen.answered}: {set(seen.failures)}"


async def _measure(url: str, written: Slice, what: str) -> list[float]:
    after_sent, after_answer = [], []
    with load(url) as seen:
        for turn in range(LEAVES):
            # The last one stays: one that was probed long ago lets the others go at once.
            leaving = written.addresses[turn % (PODS - 1)]
            await _gets_traffic(leaving)
            sent, answered = await written.write(leaving)
            await asyncio.sleep(SETTLE_SECONDS)
            last = (await _received(leaving, 1))["requests"][-1]["started"]
            assert last < sent + SETTLE_SECONDS, "requests go on coming"
            after_sent.append(max(0.0, last - sent))
            after_answer.append(max(0.0, last - answered))
            await written.write()
    assert not seen.failures, f"{len(seen.failures)} failed: {set(seen.failures)}"
    print(f"\n{what}, {LEAVES} pods left, {seen.answered} requests, last request")
    _tell("after the write was sent", after_sent)
    _tell("after it was answered", after_answer)
    return after_answer


async def _gets_traffic(address: str) -> None:
    first = (await _received(address, 0))["total"]
    deadline = time.monotonic() + 20
    while (await _received(address, 0))["total"] < first + 3:
        assert time.monotonic() < deadline, "a pod that came back gets no requests"
        await asyncio.sleep(0.02)


async def _received(address: str, last: int) -> Any:
    def ask() -> Any:
        where = f"http://{address}:{MODEL_PORT}/_simulate/requests?last={last}"
        with urllib.request.urlopen(where, timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(ask)


def _serve(workloads: Workloads) -> list[str]:
    """Model pods behind a Service without a selector; their addresses."""
    quick = ("--first-token=1", "--per-token=1")
    deployment, service = model_servers("leaving", MODEL, replicas=PODS, args=quick)
    del service["spec"]["selector"]
    workloads.apply(
        deployment,
        service,
        _resource("ModelPool", {"model": MODEL, "service": {"name": "leaving", "port": "http"}}),
        _resource("ModelRoute", {"models": ["leaving"], "pools": ["leaving"]}),
    )
    workloads.kubectl("rollout", "status", "deployment/leaving", "--timeout=100s")
    pods = workloads.get("pods", "-l", "app=leaving")["items"]
    return [pod["status"]["podIP"] for pod in pods]


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = "modelrouter.dev/v1alpha1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "leaving"}, "spec": spec}


def _tell(what: str, seconds: Sequence[float]) -> None:
    p50, p99 = _quantile(seconds, 0.5) * 1e3, _quantile(seconds, 0.99) * 1e3
    print(f"  {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(seconds) * 1e3:.1f} ms")


def _quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[max(0, min(len(values) - 1, round(q * len(values)) - 1))]
