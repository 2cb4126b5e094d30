"""What the rest of the agent learns about the connected Envoys."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.router.discovery.resources import (
    CLUSTER,
    ENDPOINTS,
    ROUTES,
    ResourceSet,
    empty_catalog,
    replace,
)
from modelrouter.router.discovery.store import Store
from modelrouter.router.discovery.wire import reason_of


def wanted(*names: str, routes: str = "1") -> ResourceSet:
    return ResourceSet(
        clusters={name: name.encode() for name in names}, routes={"main": routes.encode()}
    )


def obey(store: Store, session, bad: str = "") -> None:
    """Accept everything that is due, save a bad name."""
    session.ledger.subscribe(CLUSTER, ())
    session.ledger.subscribe(ROUTES, ["main"])
    while (due := session.ledger.next_push(1e9)) is not None:
        nonce, push = due
        rejection = None
        if bad in push.resources:
            rejection = session.ledger.reject(nonce, "bad")
        else:
            session.ledger.acknowledge(nonce)
        store.note_answer(rejection, push.kind)


def test_what_changed_between_two_sets():
    catalog = empty_catalog()
    replace(catalog, ResourceSet(clusters={"a": b"1", "b": b"1", "c": b"1"}))
    kept = catalog[CLUSTER]["a"]
    (change,) = replace(catalog, ResourceSet(clusters={"a": b"1", "b": b"2", "d": b"1"}))
    assert (change.kind, change.updated, change.removed) == (CLUSTER, ("b", "d"), ("c",))
    assert catalog[CLUSTER]["a"] is kept
    assert len(kept.version) == 16


def test_a_version_is_acknowledged_by_an_envoy_and_forgotten_with_it():
    store, seen = Store(), []
    store.on_acknowledged(seen.append)
    store.update(wanted("a"), "v1")
    assert store.acknowledged_version is None
    session = store.connect()
    obey(store, session)
    assert store.acknowledged_version == "v1"
    assert store.acknowledged_clusters == {"a"}
    store.disconnect(session)
    assert store.acknowledged_version is None
    assert store.acknowledged_clusters == {"a"}, "an Envoy that lost its stream still has it"
    obey(store, store.connect())
    assert seen == ["v1", "v1"]


def test_a_cluster_that_is_to_go_may_no_longer_be_named():
    store = Store()
    store.update(wanted("a", "b"), "v1")
    obey(store, store.connect())
    store.update(wanted("b"), "v2")
    assert store.acknowledged_clusters == {"b"}


def test_only_what_every_envoy_has_may_be_named():
    store = Store()
    store.update(wanted("a", "b"), "v1")
    obey(store, store.connect())
    obey(store, store.connect(), bad="b")
    assert store.acknowledged_clusters == {"a"}
    assert store.acknowledged_version == "v1"
    assert [rejection.name for rejection in store.rejections] == ["b"]
    assert [rejection.name for rejection in store.rejection_history] == ["b"]


def test_the_same_again_is_acknowledged_at_once():
    store = Store()
    store.update(wanted("a"), "v1")
    obey(store, store.connect())
    store.update(wanted("a"), "v2")
    assert store.acknowledged_version == "v2"


def test_a_version_that_is_given_again_with_less_is_announced_once():
    store, seen = Store(), []
    store.on_acknowledged(seen.append)
    store.update(wanted("a", "b"), "v1")
    obey(store, store.connect())
    store.update(wanted("b"), "v1")
    assert seen == ["v1"]
    assert store.acknowledged_version == "v1"


def test_old_versions_are_forgotten():
    store = Store()
    for number in range(1500):
        store.update(wanted("a"), f"v{number}")
        store.update(wanted("b"), "again")
    assert len(store._versions) == 1000
    assert len(store._serials) == 501
    assert store.version == "again"


def test_endpoints_alone_are_due_only_where_they_are_asked_for():
    store = Store()
    store.update(wanted("a"), "v1")
    session = store.connect()
    obey(store, session)
    session.ledger.subscribe(ENDPOINTS, ["a"])
    obey(store, session)
    store.update_endpoints("a", b"1")
    store.update_endpoints("b", b"1")
    assert session.wake.is_set()
    _, push = session.ledger.next_push(1e9)
    assert (push.kind, list(push.resources)) == (ENDPOINTS, ["a"])
    assert store.acknowledged_version == "v1"


def test_a_callback_that_fails_harms_nobody():
    store, seen = Store(), []

    def fail(version: str) -> None:
        raise RuntimeError("no")

    store.on_acknowledged(fail)
    store.on_acknowledged(seen.append)
    store.update(wanted("a"), "v1")
    obey(store, store.connect())
    assert seen == ["v1"]


@pytest.mark.asyncio
async def test_waiting_for_a_version():
    store = Store()
    store.update(wanted("a"), "v1")
    assert not await store.acknowledged("v1", 0.01)
    waiting = asyncio.create_task(store.acknowledged("v1", 5))
    await asyncio.sleep(0)
    session = store.connect()
    obey(store, session)
    assert await waiting
    store.update(wanted("a", "b", routes="2"), "v2")
    obey(store, session, bad="b")
    assert not await store.acknowledged("v2", 5)
    assert store.settled_version == "v2"
    assert await store.acknowledged("v1"), "older versions stay acknowledged"


def test_a_reason_does_not_repeat_the_resource():
    dump = 'goo.gle/debugproto    \nname: "k"\nsecret: "sk-1"\n: Proto constraint (x > 0)'
    assert reason_of(f"Error adding a: {dump}") == "Error adding a: Proto constraint (x > 0)"
    assert reason_of("plain") == "plain"
