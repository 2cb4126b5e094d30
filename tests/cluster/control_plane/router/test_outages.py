"""The API server goes away, and routers go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cluster.agents import Pod, config, endpoint_slice, pool, route
from cluster.kubernetes.access import Kubernetes
from component.router.processes import ask, eventually


@pytest.fixture(autouse=True)
def _own(kubernetes: Kubernetes) -> Iterator[None]:
    if not kubernetes.is_own:
        pytest.skip("the API server of somebody else's cluster is not stopped")
    yield
    kubernetes.start_api_server()
    kubernetes.restart_controllers()


async def test_an_outage_changes_nothing_and_ends_by_itself(pod: Pod) -> None:
    pod.apply(endpoint_slice("models-a", "10.77.0.1"))
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(version)
    await pod.has("a", "10.77.0.1:8000")
    await pod.ready()

    pod.kubernetes.stop_api_server()

    async def noticed() -> bool:
        return "no answer from the API server" in await pod.problems()

    await eventually(noticed, within=15)
    readiness = await pod.readiness()
    assert readiness["ready"]
    assert readiness["version"] == version
    assert pod.hosts("a") == {"10.77.0.1:8000"}
    metrics = await ask(pod.admin_port, "GET", "/metrics")
    assert 'modelrouter_watch_connected{resource="endpointslices"} 0.0' in metrics

    pod.kubernetes.start_api_server()
    pod.apply(endpoint_slice("models-a", "10.77.0.2"))
    await pod.has("a", "10.77.0.2:8000", within=30)
    second = pod.write(config({"a": pool(), "b": pool()}, {"chat": route("a", "b")}))
    await pod.reached(second, within=30)
    assert await pod.problems() == "[]"


async def test_restarts_without_an_api_server(pod: Pod) -> None:
    """Agent and Envoy begin anew from what was kept; then the cluster is heard again."""
    pod.apply(endpoint_slice("models-a", "10.77.0.1", "10.77.0.2"))
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(version)
    pod.apply(endpoint_slice("models-a", "10.77.0.2", "10.77.0.3"))
    await pod.has("a", "10.77.0.2:8000", "10.77.0.3:8000")
    await asyncio.sleep(1.5)  # endpoints are kept half a second after they change

    pod.kubernetes.stop_api_server()
    pod.kill_agent()
    pod.kill_envoy()
    pod.start()
    await pod.reached(version, within=20)
    await pod.has("a", "10.77.0.2:8000", "10.77.0.3:8000")
    await pod.ready()

    pod.kubernetes.start_api_server()
    pod.apply(endpoint_slice("models-a", "10.77.0.4"))
    await pod.has("a", "10.77.0.4:8000", within=30)


async def test_what_went_during_the_outage_is_gone_after_it(pod: Pod) -> None:
    """A restarted API server has forgotten the changes that a watch could go on from."""
    pod.apply(endpoint_slice("models-a", "10.77.0.1"), endpoint_slice("models-b", "10.77.0.2"))
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(version)
    await pod.has("a", "10.77.0.1:8000", "10.77.0.2:8000")
    pod.kubernetes.freeze_api_server()
    try:
        await asyncio.sleep(1)
        assert pod.hosts("a") == {"10.77.0.1:8000", "10.77.0.2:8000"}
    finally:
        pod.kubernetes.thaw_api_server()
    pod.kubernetes.restart_api_server()
    pod.kubernetes.kubectl("delete", "endpointslice", "models-b", "-n", pod.namespace)
    await pod.has("a", "10.77.0.1:8000", within=30)


async def test_a_first_start_waits_for_the_api_server_and_says_so(pod: Pod) -> None:
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.prepare_access()
    pod.kubernetes.stop_api_server()
    pod.start()

    async def said() -> bool:
        return "no answer from the API server" in await pod.problems()

    await eventually(said, within=15)
    assert not (await pod.readiness())["ready"]
    pod.kubernetes.start_api_server()
    await pod.reached(version, within=30)
