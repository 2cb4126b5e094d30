"""EndpointSlices reach Envoy by themselves, and at once."""

from __future__ import annotations

import asyncio

from cluster.agents import Pod, config, endpoint, endpoint_slice, pool, route
from component.router.processes import eventually


async def test_envoy_has_what_the_slices_say(pod: Pod) -> None:
    pod.apply(
        endpoint_slice("models-a", "10.77.0.1", endpoint("10.77.0.2", ready=None)),
        endpoint_slice("models-b", "10.77.0.3", endpoint("10.77.0.9", ready=False)),
        endpoint_slice("others-a", "10.77.0.4", service="others", ports={"": 9000}),
        endpoint_slice("six-a", "fd00::1", service="six", family="IPv6"),
    )
    wanted = pod.write(
        config(
            {
                "named": pool(),
                "numbered": pool(service={"name": "others", "port": 9000}),
                "unnamed": pool(service={"name": "others", "port": ""}),
                "six": pool(service={"name": "six", "port": "http"}),
                "nowhere": pool(service={"name": "nobody", "port": "http"}),
                "portless": pool(service={"name": "models", "port": "grpc"}),
            },
            {"chat": route("named", "numbered", "unnamed", "six", "nowhere", "portless")},
        )
    )
    pod.start()
    await pod.reached(wanted)
    await pod.has("named", "10.77.0.1:8000", "10.77.0.2:8000", "10.77.0.3:8000")
    await pod.has("numbered", "10.77.0.4:9000")
    await pod.has("unnamed", "10.77.0.4:9000")
    await pod.has("six", "fd00::1:8000")
    await pod.has("nowhere")
    await pod.has("portless")

    # A pod terminates, another one is there, one becomes ready; all without a new configuration.
    pod.apply(
        endpoint_slice("models-a", "10.77.0.1", endpoint("10.77.0.2", ready=False), "10.77.0.5"),
        endpoint_slice("models-b", "10.77.0.3", "10.77.0.9"),
        endpoint_slice("nobody-a", "10.77.0.6", service="nobody"),
    )
    await pod.has("named", "10.77.0.1:8000", "10.77.0.3:8000", "10.77.0.5:8000", "10.77.0.9:8000")
    await pod.has("nowhere", "10.77.0.6:8000")
    pod.kubernetes.kubectl("delete", "endpointslice", "models-b", "-n", pod.namespace)
    await pod.has("named", "10.77.0.1:8000", "10.77.0.5:8000")
    assert (await pod.configz())["version"] == wanted


async def test_a_later_configuration_keeps_the_endpoints_of_now(pod: Pod) -> None:
    pod.apply(endpoint_slice("models-a", "10.77.0.1", "10.77.0.2"))
    first = config({"a": pool()}, {"chat": route("a")})
    await _started(pod, first)
    pod.apply(endpoint_slice("models-a", "10.77.0.2", "10.77.0.3"))
    await pod.has("a", "10.77.0.2:8000", "10.77.0.3:8000")

    second = pod.write(config({"a": pool(), "b": pool()}, {"chat": route("a", "b")}))
    for _ in range(30):  # beyond the time after which what is old is taken away
        assert pod.hosts("a") == {"10.77.0.2:8000", "10.77.0.3:8000"}
        await asyncio.sleep(0.1)
    assert (await pod.configz())["version"] == second
    assert pod.hosts("b") == {"10.77.0.2:8000", "10.77.0.3:8000"}


async def test_endpoints_change_while_configurations_do(pod: Pod) -> None:
    pod.apply(endpoint_slice("models-a", "10.77.0.1"))
    await _started(pod, config({"a": pool()}, {"chat": route("a")}))
    for turn in range(10):
        pools = {"a": pool(), f"b-{turn}": pool()}
        await asyncio.gather(
            asyncio.to_thread(pod.write, config(pools, {"chat": route("a", f"b-{turn}")})),
            asyncio.to_thread(pod.apply, endpoint_slice("models-a", f"10.77.1.{turn}")),
        )
    await pod.has("a", "10.77.1.9:8000")
    await pod.has("b-9", "10.77.1.9:8000")
    await asyncio.sleep(3)
    assert pod.hosts("a") == pod.hosts("b-9") == {"10.77.1.9:8000"}


async def test_configz_counts_endpoints_and_waits_for_changes(pod: Pod) -> None:
    pod.apply(endpoint_slice("models-a", "10.77.0.1", "10.77.0.2"))
    await _started(pod, config({"a": pool()}, {"chat": route("a")}))

    async def counted() -> bool:
        return bool((await pod.configz())["pools"] == {"a": {"ready": 2, "total": 2}})

    await eventually(counted)
    before = await pod.configz()
    waiting = asyncio.create_task(
        pod.configz(after=before["version"], pools=before["poolsDigest"], timeout="14")
    )
    await asyncio.sleep(0.3)
    assert not waiting.done()
    pod.apply(endpoint_slice("models-a", "10.77.0.1"))
    after = await waiting
    assert after["version"] == before["version"]
    assert after["pools"] == {"a": {"ready": 1, "total": 1}}
    assert after["poolsDigest"] != before["poolsDigest"]


async def _started(pod: Pod, wanted: object) -> None:
    version = pod.write(wanted)  # type: ignore[arg-type]
    pod.start()
    await pod.reached(version)
