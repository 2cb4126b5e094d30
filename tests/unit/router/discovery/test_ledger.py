"""In which order one Envoy is told what."""

from __future__ import annotations

from dataclasses import replace as replace_fields

import pytest

from modelrouter.router.discovery.lane import UNVERSIONED
from modelrouter.router.discovery.ledger import Ledger, Pacing
from modelrouter.router.discovery.resources import (
    CLUSTER,
    ENDPOINTS,
    ROUTES,
    SECRET,
    ResourceSet,
    empty_catalog,
    replace,
)


class Envoy:
    """A catalog, a ledger of it and a clock; speaks as Envoy does."""

    def __init__(self, wanted: ResourceSet, pacing: Pacing | None = None) -> None:
        self.catalog = empty_catalog()
        replace(self.catalog, wanted)
        self.serial, self.now = 1, 100.0
        self.ledger = Ledger(self.catalog, 1, pacing or Pacing(linger=1.0))

    def update(self, wanted: ResourceSet) -> None:
        self.serial += 1
        self.ledger.update(replace(self.catalog, wanted), self.serial, self.now)

    def push(self):
        """The next push as (nonce, kind, names, removed names), or None."""
        due = self.ledger.next_push(self.now)
        if due is None:
            return None
        nonce, push = due
        return nonce, push.kind, list(push.resources), list(push.removed)

    def drain(self, bad=()):
        """Answer everything; the pushes, without nonces. Subscribe as Envoy does."""
        seen = []
        while (pushed := self.push()) is not None:
            nonce, kind, names, removed = pushed
            seen.append((kind, names, removed))
            if kind != ENDPOINTS and set(names) & set(bad):
                self.ledger.reject(nonce, "bad")
                continue
            if kind == CLUSTER and names:
                self.ledger.subscribe(ENDPOINTS, names)
            if kind == CLUSTER and removed:
                self.ledger.subscribe(ENDPOINTS, (), removed)
            self.ledger.acknowledge(nonce)
        return seen

    def start(self):
        self.ledger.subscribe(CLUSTER, ())
        self.ledger.subscribe(ROUTES, ["main"])
        self.ledger.subscribe(SECRET, ["key"])
        return self.drain()


def pools(*names: str, clusters: str = "", routes: str = "", **more) -> ResourceSet:
    return ResourceSet(
        clusters={name: f"{name}{clusters}".encode() for name in names},
        endpoints={name: name.encode() for name in names},
        routes={"main": (routes or ",".join(names)).encode()},
        **more,
    )


@pytest.fixture
def envoy() -> Envoy:
    envoy = Envoy(pools("a", "b"))
    envoy.start()
    return envoy


def test_clusters_endpoints_secrets_and_then_routes():
    envoy = Envoy(pools("a", "b", secrets={"key": b"1"}))
    assert envoy.start() == [
        (CLUSTER, ["a", "b"], []),
        (ENDPOINTS, ["a", "b"], []),
        (SECRET, ["key"], []),
        (ROUTES, ["main"], []),
    ]
    assert envoy.ledger.acknowledged == 1


def test_nothing_is_acknowledged_before_routes_are_asked_for():
    envoy = Envoy(pools("a"))
    assert envoy.ledger.acknowledged == 0
    envoy.ledger.subscribe(CLUSTER, ())
    envoy.drain()
    assert envoy.ledger.acknowledged == 0
    envoy.ledger.subscribe(ROUTES, ["main"])
    envoy.drain()
    assert envoy.ledger.acknowledged == 1


def test_endpoints_follow_a_changed_cluster(envoy):
    envoy.update(
        ResourceSet(
            clusters={"a": b"new", "b": b"b"},
            endpoints={"a": b"a", "b": b"b"},
            routes={"main": b"a,b"},
        )
    )
    assert envoy.drain()[:2] == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]
    assert envoy.ledger.acknowledged == 2


def test_routes_wait_for_the_clusters_that_they_may_name(envoy):
    envoy.update(pools("a", "b", "c"))
    nonce, kind, names, _ = envoy.push()
    assert (kind, names) == (CLUSTER, ["c"])
    assert envoy.push() is None
    envoy.ledger.subscribe(ENDPOINTS, ["c"])
    endpoints, kind, _, _ = envoy.push()
    assert kind == ENDPOINTS
    envoy.ledger.acknowledge(endpoints)
    assert envoy.push() is None, "the cluster still warms"
    envoy.ledger.acknowledge(nonce)
    assert envoy.push()[1] == ROUTES


def test_routes_do_not_wait_for_ever(envoy):
    envoy.update(pools("a", "b", "hangs"))
    envoy.push()
    assert envoy.push() is None
    assert envoy.ledger.wake_at == envoy.now + 2.0
    envoy.now += 2.0
    assert envoy.push()[1] == ROUTES


def test_routes_do_not_wait_for_endpoints_that_come_and_go(envoy):
    envoy.catalog[ENDPOINTS] = {**envoy.catalog[ENDPOINTS]}
    envoy.ledger.mark(ENDPOINTS, ["a"], UNVERSIONED)
    envoy.ledger.subscribe(ENDPOINTS, [])
    envoy.update(pools("a", "b", routes="new"))
    kinds = []
    while (pushed := envoy.push()) is not None:
        kinds.append(pushed[1])
    assert ROUTES in kinds


def test_a_cluster_goes_after_the_routes_that_named_it(envoy):
    envoy.update(pools("b"))
    nonce, kind, _, _ = envoy.push()
    assert kind == ROUTES
    envoy.now += 5
    assert envoy.push() is None
    envoy.ledger.acknowledge(nonce)
    assert envoy.push()[1:] == (CLUSTER, [], ["a"])


def test_a_cluster_lingers_for_requests_that_were_decided_before(envoy):
    envoy.update(pools("b"))
    assert envoy.drain() == [(ROUTES, ["main"], [])]
    assert envoy.ledger.acknowledged == 2, "what is taken away holds no version up"
    assert envoy.ledger.wake_at == envoy.now + 1.0
    envoy.now += 1.0
    assert envoy.drain() == [(CLUSTER, [], ["a"])]


def test_a_cluster_that_comes_back_in_time_stays(envoy):
    envoy.update(pools("b"))
    envoy.drain()
    envoy.update(pools("a", "b"))
    envoy.now += 10
    assert all(not removed for _, _, removed in envoy.drain())


def test_refused_routes_keep_the_clusters_that_the_old_ones_name(envoy):
    envoy.update(pools("b"))
    envoy.drain(bad=["main"])
    envoy.now += 10
    assert envoy.push() is None
    assert envoy.ledger.acknowledged == 1


def test_updates_merge_while_envoy_has_not_answered(envoy):
    envoy.update(pools("a", "b", routes="2"))
    nonce = envoy.push()[0]
    envoy.update(pools("a", "b", routes="3"))
    envoy.update(pools("a", "b", routes="4"))
    assert envoy.push() is None
    envoy.ledger.acknowledge(nonce)
    assert envoy.ledger.acknowledged == 2
    nonce, push = envoy.ledger.next_push(envoy.now)
    assert push.resources["main"].body == b"4"
    envoy.ledger.acknowledge(nonce)
    assert envoy.ledger.acknowledged == 4
    assert envoy.push() is None


def test_updates_do_not_wait_long_for_an_answer(envoy):
    envoy.update(pools("a", "b", clusters="2"))
    envoy.push()
    envoy.update(pools("a", "b", clusters="3"))
    assert envoy.push()[1] == ENDPOINTS
    assert envoy.push() is None
    envoy.now += 0.05
    assert envoy.push()[1:3] == (CLUSTER, ["a", "b"])


def test_a_change_that_is_taken_back_is_not_sent(envoy):
    envoy.update(pools("a", "b", routes="2"))
    envoy.update(pools("a", "b"))
    assert envoy.drain() == []
    assert envoy.ledger.acknowledged == 3


def test_one_bad_resource_is_found_and_the_others_arrive():
    envoy = Envoy(pools(*(f"p{number}" for number in range(16))))
    envoy.ledger.subscribe(CLUSTER, ())
    envoy.ledger.subscribe(ROUTES, ["main"])
    seen = envoy.drain(bad=["p11"])
    assert [(r.kind, r.name) for r in envoy.ledger.rejections] == [(CLUSTER, "p11")]
    assert set(envoy.ledger.holds(CLUSTER)) == {f"p{n}" for n in range(16)} - {"p11"}
    assert seen[-1][0] == ROUTES
    assert envoy.ledger.settled == 1
    assert envoy.ledger.acknowledged == 0


def test_a_version_with_a_refused_part_is_never_acknowledged(envoy):
    envoy.update(pools("a", "b", clusters="2"))
    envoy.drain(bad=["a"])
    assert (envoy.ledger.settled, envoy.ledger.acknowledged) == (2, 1)
    envoy.update(pools("a", "b", clusters="2", routes="3"))
    envoy.drain(bad=["a"])
    assert (envoy.ledger.settled, envoy.ledger.acknowledged) == (3, 1)
    envoy.update(pools("a", "b", clusters="4"))
    assert envoy.ledger.acknowledged == 1
    envoy.drain()
    assert envoy.ledger.acknowledged == 4
    assert envoy.ledger.rejections == []


def test_the_last_good_version_counts_as_held(envoy):
    envoy.update(pools("a", "b", clusters="2"))
    envoy.drain(bad=["a"])
    assert set(envoy.ledger.holds(CLUSTER)) == {"a", "b"}
    envoy.update(pools("a", "b"))
    sent = envoy.drain()
    assert (CLUSTER, ["b"], []) in sent
    assert envoy.ledger.acknowledged == 3


def reconnect(old: Envoy, wanted: ResourceSet) -> Envoy:
    """What Envoy says to a new agent: what it holds, type by type."""
    new = Envoy(wanted)
    for kind, wildcard in ((CLUSTER, True), (ENDPOINTS, False), (ROUTES, False)):
        held = {name: resource.version for name, resource in old.catalog[kind].items()}
        new.ledger.subscribe(kind, () if wildcard else tuple(held), (), held)
    return new


def test_an_envoy_that_has_everything_is_sent_nothing(envoy):
    again = reconnect(envoy, pools("a", "b"))
    assert again.drain() == []
    assert again.ledger.acknowledged == 1
    assert set(again.ledger.holds(CLUSTER)) == {"a", "b"}


def test_an_envoy_that_reconnects_is_sent_what_differs(envoy):
    again = reconnect(envoy, pools("b", "c", routes="c"))
    assert again.drain() == [
        (CLUSTER, ["c"], []),
        (ENDPOINTS, ["c"], []),
        (ROUTES, ["main"], []),
        (CLUSTER, [], ["a"]),
    ]


def test_endpoints_that_envoy_holds_follow_a_cluster_that_it_does_not(envoy):
    # Envoy may name its endpoints as held after the new cluster was sent to it.
    again = Envoy(pools("a", "b", clusters="2"))
    versions = dict.fromkeys("ab", "1")
    again.ledger.subscribe(CLUSTER, (), (), versions)
    assert again.push()[1:3] == (CLUSTER, ["a", "b"])
    held = {name: resource.version for name, resource in again.catalog[ENDPOINTS].items()}
    again.ledger.subscribe(ENDPOINTS, ["a", "b"], (), held)
    assert again.push()[1:3] == (ENDPOINTS, ["a", "b"])


def test_a_cluster_without_endpoints_is_told_so(envoy):
    both = pools("a", "b", "c")
    endpoints = {name: body for name, body in both.endpoints.items() if name != "c"}
    envoy.update(replace_fields(both, endpoints=endpoints))
    assert envoy.drain()[:2] == [(CLUSTER, ["c"], []), (ENDPOINTS, [], ["c"])]
    assert envoy.ledger.acknowledged == 2


def test_a_cluster_that_is_to_go_keeps_its_endpoints_until_then(envoy):
    again = reconnect(envoy, pools("b"))
    assert (ENDPOINTS, [], ["a"]) not in again.drain()


def test_many_resources_go_in_slices():
    envoy = Envoy(pools(*(f"p{number}" for number in range(1000))))
    envoy.ledger.subscribe(CLUSTER, ())
    sizes = []
    while (pushed := envoy.push()) is not None:
        sizes.append(len(pushed[2]))
    assert sizes == [200] * 5


def test_large_resources_go_in_smaller_slices():
    bodies = {f"p{number}": bytes(100_000) for number in range(10)}
    envoy = Envoy(ResourceSet(clusters=bodies), Pacing(slice_bytes=300_000))
    envoy.ledger.subscribe(CLUSTER, ())
    assert [len(names) for _, names, _ in envoy.drain() if names] == [3, 3, 3, 1]


def test_unknown_types_and_nonces_are_ignored(envoy):
    envoy.ledger.subscribe("type.googleapis.com/unknown", ["x"])
    envoy.ledger.acknowledge("no such nonce")
    assert envoy.ledger.reject("no such nonce", "?") is None
    assert envoy.push() is None
