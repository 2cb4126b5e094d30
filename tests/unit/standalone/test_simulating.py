"""Which pools are simulated, and where their servers stand."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from modelrouter.api.pool import ModelPool
from modelrouter.standalone.simulating import Simulations


def pool(name: str, **spec: object) -> ModelPool:
    return ModelPool.model_validate(
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelPool",
            "metadata": {"name": name},
            "spec": {"model": f"{name}-model", **spec},
        }
    )


def provider(name: str, url: str) -> ModelPool:
    return pool(name, provider={"kind": "OpenAICompatible", "baseUrl": url})


def simulations(up: Collection[tuple[str, int]] = ()) -> Simulations:
    """Decisions for a world in which just these addresses answer."""

    async def reachable(host: str, port: int) -> bool:
        return (host, port) in up

    ports = itertools.count(20_000)
    return Simulations(reachable, lambda: next(ports))


async def test_local_endpoints_are_simulated_where_they_are():
    found = simulations()
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001", "127.0.0.1:9002"])})
    assert [server.address for server in found.servers.values()] == [
        "127.0.0.1:9001",
        "127.0.0.1:9002",
    ]
    assert list(found.servers) == ["a-0", "a-1"]
    assert found.addresses == {}


async def test_other_endpoints_get_local_addresses_in_their_place():
    found = simulations()
    await found.update({"a": pool("a", endpoints=["10.0.0.7:8000", "vllm.ai.svc:8000"])})
    assert found.addresses == {"a": ["127.0.0.1:20000", "127.0.0.1:20001"]}


async def test_a_pool_with_local_and_other_endpoints_moves_as_a_whole():
    found = simulations()
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001", "10.0.0.7:8000"])})
    assert found.addresses == {"a": ["127.0.0.1:20000", "127.0.0.1:20001"]}


async def test_a_provider_gets_a_local_address():
    found = simulations()
    await found.update({"gpt": provider("gpt", "https://api.provider.example/v1")})
    assert found.addresses == {"gpt": ["127.0.0.1:20000"]}


async def test_a_service_gets_a_local_address_and_keeps_it_until_it_is_another():
    found = simulations({("tgi", 8080)})
    await found.update({"tgi": pool("tgi", service={"name": "tgi", "port": 8080})})
    assert found.addresses == {"tgi": ["127.0.0.1:20000"]}
    await found.update({"tgi": pool("tgi", service={"name": "tgi", "port": 8080}, zone="eu")})
    assert found.addresses == {"tgi": ["127.0.0.1:20000"]}
    await found.update({"tgi": pool("tgi", endpoints=["127.0.0.1:9001"])})
    assert found.addresses == {}


async def test_one_endpoint_that_answers_is_enough_to_leave_the_pool_alone():
    found = simulations({("127.0.0.1", 9002)})
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001", "127.0.0.1:9002"])})
    assert found.servers == {}
    assert found.addresses == {}


async def test_a_provider_that_answers_is_left_alone():
    found = simulations({("llm.corp", 443), ("llm.corp", 8443), ("llm.corp", 80)})
    await found.update(
        {
            "a": provider("a", "https://llm.corp/v1"),
            "b": provider("b", "https://llm.corp:8443/v1"),
            "c": provider("c", "http://llm.corp/v1"),
        }
    )
    assert found.servers == {}


async def test_a_decision_stands_while_the_pool_does():
    up: set[tuple[str, int]] = set()
    found = simulations(up)
    pools = {"a": pool("a", endpoints=["127.0.0.1:9001"])}
    await found.update(pools)
    up.add(("127.0.0.1", 9001))  # our own simulated server, which answers by now
    await found.update(pools)
    assert list(found.servers) == ["a-0"]
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001"], zone="eu")})
    assert list(found.servers) == ["a-0"]


async def test_an_own_server_does_not_make_a_changed_pool_reachable():
    up: set[tuple[str, int]] = set()
    found = simulations(up)
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001"])})
    up.add(("127.0.0.1", 9001))
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001", "127.0.0.1:9002"])})
    assert list(found.servers) == ["a-0", "a-1"]


async def test_a_pool_that_is_gone_is_forgotten():
    found = simulations()
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001"])})
    await found.update({})
    assert found.servers == {}


async def test_pools_that_name_the_same_address_share_a_server():
    found = simulations()
    await found.update(
        {
            "a": pool("a", endpoints=["127.0.0.1:9001"]),
            "b": pool("b", endpoints=["127.0.0.1:9001"]),
        }
    )
    (server,) = found.servers.values()
    assert server.models == ("a-model", "b-model")
    assert list(server.command.arguments[-3:]) == ["--served-model-name", "a-model", "b-model"]


async def test_a_large_pool_gets_few_servers_and_is_told_where():
    found = simulations()
    endpoints = [f"127.0.0.1:{9000 + index}" for index in range(50)]
    await found.update({"a": pool("a", endpoints=endpoints)})
    assert len(found.servers) == 8
    assert found.addresses["a"] == endpoints[:8]


async def test_a_server_knows_its_pools_model_and_window():
    found = simulations()
    await found.update({"a": pool("a", endpoints=["127.0.0.1:9001"], contextWindow=4096)})
    arguments = found.servers["a-0"].command.arguments
    text = " ".join(arguments)
    assert "--model a-model" in text
    assert "--max-model-len 4096" in text
    assert "--name a-0" in text


def servers(name: str, **vllm: object) -> ModelPool:
    return pool(name, vllm={"image": "vllm", "source": "pvc://models", **vllm})


async def test_model_servers_of_a_cluster_get_local_addresses_and_serve_their_adapters():
    found = simulations()
    adapters = [{"name": "support-de", "source": "hf://acme/support-de"}]
    await found.update({"a": servers("a", replicas=2, loraAdapters=adapters)})
    assert found.addresses == {"a": ["127.0.0.1:20000", "127.0.0.1:20001"]}
    assert {server.adapters for server in found.servers.values()} == {("support-de",)}
    command = found.servers["a-0"].command.arguments
    assert command[command.index("--lora-modules") + 1] == "support-de=support-de"
    await found.update({"a": servers("a", replicas=1)})
    assert found.addresses == {"a": ["127.0.0.1:20002"]}
    assert {server.adapters for server in found.servers.values()} == {()}


async def test_there_are_only_so_many_simulated_servers_and_at_least_one():
    found = simulations()
    await found.update({"many": servers("many", replicas=100), "none": servers("none", replicas=0)})
    assert len(found.addresses["many"]) == 8
    assert len(found.addresses["none"]) == 1
