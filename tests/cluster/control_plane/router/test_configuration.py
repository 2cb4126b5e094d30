"""A router's configuration and keys, from ConfigMaps and Secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cluster.agents import Pod, config, endpoint_slice, pool, route
from cluster.secrecy import planted
from component.router.processes import eventually
from component.router.simulators import Simulator
from modelrouter.plan.shards import entries

PACE = ("--first-token", "0", "--per-token", "0")


@pytest.fixture
def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A simulated provider on this machine."""
    simulator = Simulator(tmp_path, "provider", PACE).start()
    yield simulator
    simulator.stop()


def upstream(server: Simulator, **more: object) -> dict[str, object]:
    """A pool of the provider."""
    where = {"host": "127.0.0.1", "port": server.port, "tls": False, "path_prefix": "/v1"}
    return {"model": server.model, "upstream": where, **more}


async def test_a_change_in_one_of_several_shards_is_followed(pod: Pod) -> None:
    pools = {f"p{i}": pool() for i in range(8)}
    routes = {f"r{i}": route(f"p{i}", model=f"m{i}") for i in range(8)}
    first = pod.write(config(pools, routes), limit=1500)
    maps = pod.kubernetes.kubectl("get", "configmap", "-n", pod.namespace, "-o", "name")
    assert maps.count("-config-") >= 3
    pod.start()
    await pod.reached(first)
    routes["r3"] = route("p4", "p3", model="m3")
    second = pod.write(config(pools, routes), limit=1500)
    assert second != first
    await pod.reached(second)
    del pools["p7"], routes["r7"]
    await pod.reached(pod.write(config(pools, routes), limit=1500))
    assert await pod.problems() == "[]"


async def test_what_cannot_be_read_leaves_the_last_good_in_force(pod: Pod) -> None:
    good = config({"a": pool(), "b": pool()}, {"chat": route("a")})
    version = pod.write(good)
    pod.start()
    await pod.reached(version)
    await pod.ready()

    async def says(text: str) -> None:
        async def said() -> bool:
            return text in await pod.problems()

        await eventually(said, within=15)
        readiness = await pod.readiness()
        assert readiness["ready"]
        assert readiness["version"] == version

    content = entries(good)
    pod.write_shard(0, content | {"route.chat": '{"models": ['})
    await says("route.chat is not JSON")
    pod.write_shard(0, content | {"route.chat": content["route.chat"].replace('"chat"', "7")})
    await says("routes.chat.models[0]")
    pod.write_shard(0, {key: text for key, text in content.items() if key != "pool.a"})
    await says("route chat needs pool.a")
    pod.write_shard(0, content)

    async def well() -> bool:
        return await pod.problems() == "[]"

    await eventually(well, within=15)
    # All ConfigMaps gone, as when somebody deletes them by hand: no reason to stop.
    pod.kubernetes.kubectl(
        "delete", "configmap", "-n", pod.namespace, "-l", "modelrouter.dev/router"
    )
    await says("there is no ConfigMap for this router")
    await pod.reached(pod.write(config({"a": pool()}, {"chat": route("a")})))


async def test_a_key_is_followed_and_goes_nowhere_else(pod: Pod, server: Simulator) -> None:
    """Missing, created, rotated, removed: each takes effect without a restart."""
    keys = [planted("one"), planted("two")]
    keyed = pool(**upstream(server, credential={"secret": "provider", "key": "api-key"}))
    wanted = config({"a": keyed}, {"chat": route("a")})
    version = pod.write(wanted)
    pod.start()
    await pod.reached(version)
    assert (await pod.chat())[0] == 503

    async def sent() -> str | None:
        status, _ = await pod.chat()
        if status != 200:
            return None
        (received,) = await server.received(last=1)
        return received.header("authorization")

    for key in keys:
        pod.apply(_secret("provider", key + "\n"))

        async def arrived(key: str = key) -> bool:
            return await sent() == f"Bearer {key}"

        await eventually(arrived, within=15)
    pod.kubernetes.kubectl("delete", "secret", "provider", "-n", pod.namespace)

    async def refused() -> bool:
        return (await pod.chat())[0] == 503

    await eventually(refused, within=15)
    for text in (pod.log.read_text(), str(await pod.readiness()), str(await pod.configz())):
        assert not any(key in text for key in keys)


async def test_reads_only_secrets_that_a_pool_names(pod: Pod, server: Simulator) -> None:
    pod.apply(_secret("provider", planted()), _secret("other", planted()))
    keyed = pool(**upstream(server, credential={"secret": "provider", "key": "api-key"}))
    pod.write(config({"a": keyed}, {"chat": route("a")}))
    who = f"--as=system:serviceaccount:{pod.namespace}:model-router-chat"

    def may(*what: str) -> bool:
        said = pod.kubernetes.kubectl("auth", "can-i", *what, "-n", pod.namespace, who, check=False)
        return said.strip() == "yes"

    assert may("watch", "secret/provider")
    assert not may("watch", "secret/other")
    assert not may("list", "secrets")
    assert not may("update", "configmaps")


async def test_a_key_that_may_not_be_read_costs_only_its_pool(pod: Pod, server: Simulator) -> None:
    key = planted()
    pod.apply(_secret("provider", key))
    credential = {"secret": "provider", "key": "api-key"}
    pools = {"a": pool(**upstream(server, credential=credential)), "b": pool(**upstream(server))}
    version = pod.write(config(pools, {"chat": route("a", "b")}))
    pod.permit(secrets=())
    pod.start()
    await pod.reached(version, within=20)
    status, body = await pod.chat()
    assert status == 200, body
    assert "secrets/provider" in await pod.problems()
    pod.permit(secrets=("provider",))

    async def keyed() -> bool:
        await pod.chat()
        (received,) = await server.received(last=1)
        return received.header("authorization") == f"Bearer {key}"

    await eventually(keyed, within=20)
    assert await pod.problems() == "[]"


async def test_two_routers_of_a_namespace_do_not_mix(pod: Pod) -> None:
    pod.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "model-router-other-config-0",
                "labels": {
                    "modelrouter.dev/router": "other",
                    "app.kubernetes.io/component": "router-config",
                },
            },
            "data": {"route.other": "{}"},
        },
        endpoint_slice("models-a", "10.77.0.1"),
    )
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(version)
    await asyncio.sleep(0.2)
    assert await pod.problems() == "[]"


def _secret(name: str, value: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"api-key": value},
    }
