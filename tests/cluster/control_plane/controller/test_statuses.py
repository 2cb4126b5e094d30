"""Status never lies: through every kind of trouble and back, at a real router."""

from __future__ import annotations

import pytest

from cluster.control_plane.controller.operators import Operator
from cluster.control_plane.controller.resources import ModelServer, Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from cluster.secrecy import planted, spellings
from component.router.manifests import pool, provider, route, secret
from component.router.simulators import Simulator
from modelrouter.plan.naming import router_url

YES = "True"
SERVED = {
    "Accepted": (YES, "Accepted"),
    "ResolvedRefs": (YES, "ResolvedRefs"),
    "Programmed": (YES, "Programmed"),
    "Ready": (YES, "Ready"),
}
GOOD_POOL = {"ResolvedRefs": (YES, "ResolvedRefs"), "Ready": (YES, "EndpointsReady")}


@pytest.fixture
def server() -> ModelServer:
    return ModelServer()


def test_a_route_on_its_way_through_trouble(
    operator: Operator, resources: Resources, router_pods: RouterPods, namespace: str
) -> None:
    here, server = resources, ModelServer()

    # No pool yet.
    here.apply(route("chat", pools=["llama"]))
    here.expect(
        "mroute", "chat",
        Accepted=(YES, "Accepted"),
        ResolvedRefs=("False", "PoolNotFound"),
        Programmed=("False", "PoolNotFound"),
        Ready=("False", "PoolNotFound"),
    )  # fmt: skip
    message = here.message("mroute", "chat", "ResolvedRefs")
    assert f"there is no ModelPool {namespace}/llama; create it" in message

    # The pool comes; the router's pods are not there yet.
    here.apply(pool("llama", server.address, model="acme/llama"))
    here.expect(
        "mroute", "chat",
        ResolvedRefs=(YES, "ResolvedRefs"),
        Programmed=("False", "RouterNotReady"),
        Ready=("False", "RouterNotReady"),
    )  # fmt: skip
    here.expect("mpool", "llama", Ready=("Unknown", "RouterNotReady"))

    # A pod takes it over.
    (pod,) = router_pods.start()
    here.expect("mroute", "chat", **SERVED)
    here.expect("mpool", "llama", **GOOD_POOL)
    status = here.get("mroute", "chat")["status"]
    assert status["url"] == router_url(namespace, "default")
    assert status["traffic"] == [{"rule": "pools", "pool": "llama", "weight": 1}]
    assert here.get("mpool", "llama")["status"]["endpoints"]["summary"] == "1/1"
    for kind in ("mroute/chat", "mpool/llama"):
        here.kubernetes.kubectl(
            "wait", "--for=condition=Ready", kind, "-n", namespace, "--timeout=5s"
        )

    # The only endpoint goes, and comes back.
    port = server.address.rpartition(":")[2]
    server.stop()
    here.expect("mpool", "llama", within=60, Ready=("False", "NoEndpoints"))
    here.expect("mroute", "chat", Programmed=(YES, "Programmed"), Ready=("False", "NoEndpoints"))
    assert port in here.get("mpool", "llama")["spec"]["endpoints"][0]
    server = ModelServer()
    here.apply(pool("llama", server.address, model="acme/llama"))
    here.expect("mpool", "llama", within=60, **GOOD_POOL)
    here.expect("mroute", "chat", **SERVED)

    # The router's only pod is not ready, and is again.
    pod.report(ready=False)
    here.expect(
        "mroute", "chat",
        Programmed=("False", "RouterNotReady"),
        Ready=("False", "RouterNotReady"),
    )  # fmt: skip
    assert pod.name in here.message("mroute", "chat", "Programmed") or len(router_pods.names()) > 1
    pod.report(ready=True)
    here.expect("mroute", "chat", **SERVED)

    # The pod says that it is ready but cannot be asked.
    pod.stop()
    here.expect("mroute", "chat", Programmed=("False", "Programming"))
    assert pod.name in here.message("mroute", "chat", "Programmed")
    pod.start()
    eventually(pod.is_ready, within=60)
    here.expect("mroute", "chat", within=60, **SERVED)

    # The pool is deleted under the route, and comes back.
    here.delete("mpool", "llama")
    here.expect("mroute", "chat", Ready=("False", "PoolNotFound"))
    here.apply(pool("llama", server.address, model="acme/llama"))
    here.expect("mroute", "chat", within=60, **SERVED)

    told = eventually(
        lambda: (
            events
            if (events := here.events("ModelRoute", "chat")).count(("Normal", "Ready")) >= 5
            else None
        )
    )
    assert [reason for type_, reason in told if type_ == "Warning"] == [
        "PoolNotFound",
        "RouterNotReady",
        "NoEndpoints",
        "RouterNotReady",
        "PoolNotFound",
    ]


def test_a_pool_without_its_key_and_with_it(
    operator: Operator,
    resources: Resources,
    router_pods: RouterPods,
    namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    here = resources
    value = planted()
    simulator = Simulator(tmp_path_factory.mktemp("simulators"), "gpt", [])
    simulator.launch()
    try:
        spec = provider("gpt", simulator, secret="openai", healthCheck={"path": "/health"})
        here.apply(spec, route("chat", pools=["gpt"]))
        here.expect(
            "mpool", "gpt",
            ResolvedRefs=("False", "SecretNotFound"),
            Ready=("False", "SecretNotFound"),
        )  # fmt: skip
        assert f"there is no Secret {namespace}/openai; create it" in here.message(
            "mpool", "gpt", "Ready"
        )
        here.expect("mroute", "chat", ResolvedRefs=("False", "SecretNotFound"))
        router_pods.start()

        wrong = secret("openai", value)
        wrong["stringData"] = {"apikey": value}
        here.apply(wrong)
        here.expect("mpool", "gpt", ResolvedRefs=("False", "SecretKeyNotFound"))
        assert "has no key api-key; add it" in here.message("mpool", "gpt", "ResolvedRefs")
        here.expect("mroute", "chat", ResolvedRefs=("False", "SecretKeyNotFound"))

        here.apply(secret("openai", value))
        here.expect("mpool", "gpt", within=60, **GOOD_POOL)
        here.expect("mroute", "chat", within=60, **SERVED)

        here.delete("secret", "openai")
        here.expect("mpool", "gpt", ResolvedRefs=("False", "SecretNotFound"))
        here.apply(secret("openai", value))
        here.expect("mroute", "chat", within=60, **SERVED)

        # Between the key's arrival and the first good probe it may have no endpoint for a moment.
        warnings = [
            reason
            for type_, reason in here.events("ModelPool", "gpt")
            if type_ != "Normal" and reason != "NoEndpoints"
        ]
        assert warnings == ["SecretNotFound", "SecretKeyNotFound", "SecretNotFound"]
        seen = operator.log.read_text() + here.kubernetes.kubectl(
            "get", "mroute,mpool,configmap,events,deployment,role", "-n", namespace, "-o", "yaml"
        )
        assert not spellings(value).search(seen.encode())
    finally:
        simulator.kill()


def test_of_two_routes_for_one_model_the_older_wins_until_it_gives_way(
    operator: Operator, resources: Resources, router_pods: RouterPods, namespace: str
) -> None:
    here, server = resources, ModelServer()
    here.apply(pool("llama", server.address, model="m"), route("older", pools=["llama"]))
    router_pods.start()
    here.expect("mroute", "older", within=60, **SERVED)
    # creationTimestamp counts whole seconds; of two of one second the first by name wins.
    here.apply(route("younger", pools=["llama"], models=["older", "own"]))
    here.expect("mroute", "younger", Accepted=("False", "ModelConflict"))
    message = here.message("mroute", "younger", "Accepted")
    assert f"older is served by the older ModelRoute {namespace}/older" in message
    here.expect("mroute", "older", **SERVED)

    here.delete("mroute", "older")
    here.expect("mroute", "younger", **SERVED)
    assert ("Warning", "ModelConflict") in here.events("ModelRoute", "younger")
    assert here.events("ModelRoute", "younger")[-1] == ("Normal", "Ready")


def test_a_stored_route_that_this_version_cannot_read_says_so(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    """As after an upgrade that became stricter: the definition lets through what models refuse."""
    here, server = resources, ModelServer()
    here.apply(pool("llama", server.address, model="m"), route("fine", pools=["llama"]))
    # Python's syntax of regular expressions is the one thing that the API server cannot check.
    rule = {
        "name": "x",
        "match": {"headers": [{"name": "x-team", "regex": "("}]},
        "targets": [{"pool": "llama"}],
    }
    here.apply(route("broken", pools=["llama"], rules=[rule]))
    here.expect(
        "mroute", "broken",
        Accepted=("False", "InvalidSpec"),
        Programmed=("False", "InvalidSpec"),
        Ready=("False", "InvalidSpec"),
    )  # fmt: skip
    message = here.message("mroute", "broken", "Accepted")
    assert "spec.rules[0].match.headers[0].regex" in message
    here.expect("mroute", "fine", Accepted=(YES, "Accepted"))
    rule["match"] = {"headers": [{"name": "x-team", "regex": "a|b"}]}
    here.apply(route("broken", pools=["llama"], rules=[rule]))
    here.expect("mroute", "broken", Accepted=(YES, "Accepted"), ResolvedRefs=(YES, "ResolvedRefs"))
    assert here.events("ModelRoute", "broken")[0] == ("Warning", "InvalidSpec")


def test_a_pool_of_a_service_follows_the_service_and_its_endpoints(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    spec = {"model": "m", "service": {"name": "tgi", "port": "http"}}
    here.apply({**pool("tgi", "x:1"), "spec": spec})
    here.expect("mpool", "tgi", ResolvedRefs=("False", "ServiceNotFound"))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "tgi"},
        "spec": {"ports": [{"name": "web", "port": 80}]},
    }
    here.apply(service)
    here.expect("mpool", "tgi", ResolvedRefs=("False", "ServicePortNotFound"))
    service["spec"] = {"ports": [{"name": "http", "port": 80}]}
    here.apply(service)
    here.expect(
        "mpool", "tgi",
        ResolvedRefs=(YES, "ResolvedRefs"), Ready=("False", "NoEndpoints"),
    )  # fmt: skip
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "tgi-1", "labels": {"kubernetes.io/service-name": "tgi"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        ],
    }
    here.apply(endpoint_slice)
    here.expect("mpool", "tgi", Ready=(YES, "EndpointsReady"))
    assert here.get("mpool", "tgi")["status"]["endpoints"]["summary"] == "1/2"


def test_a_router_that_cannot_be_written_says_why_and_the_rest_is_written(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    here.limit("none", **{"count/services": "0"})
    here.apply(pool("llama", "10.0.0.1:80", model="m"), route("chat", pools=["llama"]))
    here.expect("mroute", "chat", Programmed=("False", "RouterNotApplied"))
    assert "exceeded quota: none" in here.message("mroute", "chat", "Programmed")
    eventually(lambda: here.names("deployment"))
    here.delete("resourcequota", "none")
    here.expect("mroute", "chat", within=90, Programmed=("False", "RouterNotReady"))
    assert "model-router-default" in here.names("service")


def test_a_status_edited_by_hand_is_put_right(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    here.apply(route("chat", pools=["none"]))
    here.expect("mroute", "chat", Ready=("False", "PoolNotFound"))
    here.kubernetes.kubectl(
        "patch", "mroute", "chat", "-n", namespace, "--subresource=status", "--type=merge",
        "-p", '{"status": {"url": "http://elsewhere"}}',
    )  # fmt: skip
    eventually(
        lambda: here.get("mroute", "chat")["status"]["url"] == router_url(namespace, "default")
    )
