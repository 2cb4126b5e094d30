"""The snapshot: what refers to what, and which keys a change marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelrouter.api.manifests import Key
from modelrouter.controller.snapshot import Snapshot


@dataclass
class Marks:
    routers: set[Key] = field(default_factory=set)
    routes: set[Key] = field(default_factory=set)
    pools: set[Key] = field(default_factory=set)
    objects: set[Key] = field(default_factory=set)
    server_pods: set[Key] = field(default_factory=set)

    def router_changed(self, router: Key) -> None:
        self.routers.add(router)

    def route_changed(self, route: Key) -> None:
        self.routes.add(route)

    def pool_changed(self, pool: Key) -> None:
        self.pools.add(pool)

    def pods_changed(self, router: Key) -> None:
        pass

    def pool_objects_changed(self, pool: Key) -> None:
        self.objects.add(pool)

    def server_pod_changed(self, pod: Key) -> None:
        self.server_pods.add(pod)

    def clear(self) -> None:
        for marked in (self.routers, self.routes, self.pools, self.objects, self.server_pods):
            marked.clear()

    @property
    def empty(self) -> bool:
        return not (self.routers or self.routes or self.pools)


def manifest(
    kind: str, name: str, spec: dict[str, Any], version: int = 1, generation: int = 1
) -> dict[str, Any]:
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"{kind}-{name}",
            "generation": generation,
            "resourceVersion": str(version),
            "labels": {"argocd.argoproj.io/instance": "app"},
        },
        "spec": spec,
    }


def route(name: str = "r", version: int = 1, generation: int = 1, **spec: Any) -> dict[str, Any]:
    full = {"models": [name], "pools": ["a", "b"], **spec}
    return manifest("ModelRoute", name, full, version, generation)


def pool(name: str, version: int = 1, generation: int = 1, **spec: Any) -> dict[str, Any]:
    full = spec or {"endpoints": ["10.0.0.1:80"]}
    return manifest("ModelPool", name, {"model": "m", **full}, version, generation)


def credentials(secret: str) -> dict[str, Any]:
    reference = {"secretRef": {"name": secret, "key": "k"}}
    return {"kind": "OpenAI", "credentials": reference}


def watched() -> tuple[Snapshot, Marks]:
    snapshot, marks = Snapshot(), Marks()
    snapshot.listeners.append(marks)
    return snapshot, marks


def test_a_new_route_marks_its_router_itself_and_its_pools() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    assert marks.routers == {("ns", "default")}
    assert marks.routes == {("ns", "r")}
    assert marks.pools == {("ns", "a"), ("ns", "b")}


def test_a_status_that_changed_marks_the_status_only() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    marks.clear()
    snapshot.put_route(route(version=2) | {"status": {"url": "edited by hand"}})
    assert (marks.routers, marks.routes, marks.pools) == (set(), {("ns", "r")}, set())
    assert snapshot.routes["ns", "r"].live["status"] == {"url": "edited by hand"}


def test_what_is_old_marks_nothing() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route(version=5))
    marks.clear()
    snapshot.put_route(route(version=5))
    snapshot.put_route(route(version=4, generation=9))
    assert marks.empty


def test_a_route_that_moves_to_another_router_marks_both() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    marks.clear()
    snapshot.put_route(route(version=2, generation=2, router="other"))
    assert marks.routers == {("ns", "default"), ("ns", "other")}
    assert list(snapshot.by_router.of(("ns", "default"))) == []


def test_a_deleted_route_marks_its_router_and_its_late_echo_does_not_bring_it_back() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    marks.clear()
    snapshot.remove_route(route(version=7))
    assert marks.routers == {("ns", "default")}
    snapshot.put_route(route(version=6))
    assert snapshot.routes == {}


def test_a_pool_marks_the_routers_and_routes_that_name_it() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route("r"))
    snapshot.put_route(route("s", pools=["c"], router="other"))
    marks.clear()
    snapshot.put_pool(pool("a"))
    assert marks.routers == {("ns", "default")}
    assert marks.routes == {("ns", "r")}
    assert marks.pools == {("ns", "a")}


def test_a_secret_marks_the_pools_that_name_it_and_their_routes_but_no_router() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    snapshot.put_pool(pool("a", provider=credentials("keys")))
    snapshot.put_pool(pool("b"))
    marks.clear()
    snapshot.secret_changed(("ns", "keys"))
    assert (marks.routers, marks.routes, marks.pools) == (set(), {("ns", "r")}, {("ns", "a")})


def test_a_service_marks_the_routers_too_because_its_ports_are_configuration() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    snapshot.put_pool(pool("a", service={"name": "tgi", "port": "http"}))
    marks.clear()
    snapshot.service_changed(("ns", "tgi"))
    assert marks.routers == {("ns", "default")}
    assert marks.pools == {("ns", "a")}


def test_a_pool_that_names_another_secret_leaves_the_first_one() -> None:
    snapshot, _ = watched()
    snapshot.put_pool(pool("a", provider=credentials("old")))
    snapshot.put_pool(pool("a", version=2, generation=2, provider=credentials("new")))
    assert list(snapshot.by_secret) == [("ns", "new")]


def test_a_full_list_removes_what_is_not_in_it_unless_it_is_newer() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route("old", version=3))
    snapshot.put_route(route("new", version=12))
    marks.clear()
    snapshot.replace_routes([], None, version=10)
    assert set(snapshot.routes) == {("ns", "new")}
    assert marks.routers == {("ns", "default")}


def test_a_full_list_of_one_namespace_leaves_the_others_alone() -> None:
    snapshot, _ = watched()
    snapshot.put_pool(pool("a"))
    snapshot.replace_pools([], "elsewhere", version=10)
    assert set(snapshot.pools) == {("ns", "a")}


def test_what_cannot_be_read_is_kept_with_its_problems_and_its_router() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route(router="edge", rules=[{"name": "x", "targets": []}]))
    found = snapshot.routes["ns", "r"]
    assert found.model is None
    assert found.problems[0].field == "spec.rules[0].targets"
    assert found.problems[0].resource == "ModelRoute ns/r"
    assert marks.routers == {("ns", "edge")}


def test_neither_specs_nor_foreign_ownership_are_kept_in_memory() -> None:
    snapshot, _ = watched()
    obj = route()
    obj["metadata"]["managedFields"] = [
        {"manager": "kubectl"},
        {"manager": "model-router-operator"},
    ]
    snapshot.put_route(obj)
    live = snapshot.routes["ns", "r"].live
    assert "spec" not in live
    assert live["metadata"]["managedFields"] == [{"manager": "model-router-operator"}]


def test_a_new_leader_is_told_of_everything() -> None:
    snapshot, _ = watched()
    snapshot.put_route(route())
    snapshot.put_pool(pool("a"))
    marks = Marks()
    snapshot.announce_all(marks)
    assert marks.routers == {("ns", "default")}
    assert marks.routes == {("ns", "r")}
    assert marks.pools == {("ns", "a")}


def with_canary(version: int, weight: int | None = None, message: str = "") -> dict[str, Any]:
    canary = {"from": "a", "to": "b", "steps": [{"weight": 50}]}
    found = route(version=version, canary=canary)
    if weight is not None:
        status = {
            "phase": "Progressing",
            "id": "1",
            "rule": "pools",
            "from": "a",
            "to": "b",
            "steps": 1,
            "weight": weight,
            "since": "2026-01-01T00:00:00.000Z",
            "message": message,
        }
        found["status"] = {"canary": status}
    return found


def test_the_weight_of_a_canary_marks_the_router_even_where_it_was_our_own_write() -> None:
    snapshot, marks = watched()
    snapshot.put_route(with_canary(1))
    assert snapshot.routes["ns", "r"].canary is None
    for version, own in ((2, True), (3, False)):
        marks.clear()
        snapshot.put_route(with_canary(version, 10 * version), own=own)
        assert marks.routers == {("ns", "default")}
        assert snapshot.routes["ns", "r"].canary is not None
    marks.clear()
    snapshot.put_route(with_canary(4, 30, "the analysis is passing"), own=True)
    assert marks.empty


def test_the_status_of_a_canary_that_the_spec_does_not_have_is_none_of_the_plan() -> None:
    snapshot, _ = watched()
    snapshot.put_route(route(version=1) | {"status": with_canary(1, 50)["status"]})
    assert snapshot.routes["ns", "r"].canary is None


def test_a_route_that_is_gone_is_told() -> None:
    snapshot, marks = watched()
    snapshot.put_route(route())
    marks.clear()
    snapshot.remove_route(route(version=2))
    assert marks.routes == {("ns", "r")}
