"""Endpoints of Services: which are used, and how."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.api.router_config import ServiceEndpoints
from modelrouter.router.services import Group, Port, Services, addresses_of

HTTP, GRPC = Port("http", 8000), Port("grpc", 9000)


def group(*addresses: str, ports: tuple[Port, ...] = (HTTP,), pods: str = "") -> Group:
    return Group(ports, tuple((a, f"{pods}{i}" if pods else "") for i, a in enumerate(addresses)))


class TestAddresses:
    def test_of_several_groups_are_joined_sorted_and_each_once(self) -> None:
        groups = [group("10.0.0.2", "10.0.0.1"), group("10.0.0.3", "10.0.0.1")]
        assert addresses_of(groups, "http") == (
            "10.0.0.1:8000",
            "10.0.0.2:8000",
            "10.0.0.3:8000",
        )

    @pytest.mark.parametrize(
        ("port", "found"),
        [
            ("http", ("10.0.0.1:8000",)),
            (9000, ("10.0.0.1:9000",)),
            ("grpc", ("10.0.0.1:9000",)),
            ("", ()),
            ("8000", ()),
            (80, ()),
        ],
    )
    def test_are_chosen_by_the_port(self, port: int | str, found: tuple[str, ...]) -> None:
        assert addresses_of([group("10.0.0.1", ports=(HTTP, GRPC))], port) == found

    def test_a_named_port_may_differ_between_groups(self) -> None:
        groups = [group("10.0.0.1"), group("10.0.0.2", ports=(Port("http", 8080),))]
        assert addresses_of(groups, "http") == ("10.0.0.1:8000", "10.0.0.2:8080")

    def test_a_pod_with_two_families_counts_once(self) -> None:
        four, six = group("10.0.0.1", "10.0.0.2", pods="p"), group("fd00::1", "fd00::2", pods="p")
        alone = Group((HTTP,), (("fd00::3", "p3"),))
        assert addresses_of([six, four, alone], "http") == (
            "10.0.0.1:8000",
            "10.0.0.2:8000",
            "[fd00::3]:8000",
        )
        assert addresses_of([six], "http") == ("[fd00::1]:8000", "[fd00::2]:8000")


class TestServices:
    def test_tells_what_changes(self) -> None:
        services = Services()
        assert services.put("a", "a-1", group("10.0.0.1"))
        assert not services.put("a", "a-1", group("10.0.0.1"))
        assert services.put("a", "a-1", group("10.0.0.2"))
        assert services.addresses(ServiceEndpoints(name="a", port="http")) == ("10.0.0.2:8000",)
        assert services.remove("a", "a-1")
        assert not services.remove("a", "a-1")
        assert services.groups == {}

    def test_a_new_list_tells_the_services_that_differ(self) -> None:
        services = Services()
        same, old, new = group("10.0.0.1"), group("10.0.0.2"), group("10.0.0.3")
        assert not services.heard
        services.replace({"same": {"x": same}, "moved": {"x": old}, "gone": {"x": old}})
        assert services.heard
        changed = services.replace({"same": {"x": same}, "moved": {"x": new}, "new": {"x": new}})
        assert changed == {"moved", "gone", "new"}

    def test_a_copy_of_the_groups_stays_as_it_is(self) -> None:
        services = Services()
        services.put("a", "a-1", group("10.0.0.1"))
        before = services.groups
        services.put("a", "a-2", group("10.0.0.2"))
        assert before == {"a": (group("10.0.0.1"),)}

    @given(
        st.dictionaries(
            st.text(max_size=3),
            st.dictionaries(
                st.text(max_size=3),
                st.builds(
                    Group,
                    st.tuples(st.builds(Port, st.text(max_size=3), st.integers(1, 65535))),
                    st.tuples(st.tuples(st.text(max_size=9), st.text(max_size=3))),
                ),
                min_size=1,
                max_size=3,
            ),
            max_size=3,
        )
    )
    def test_are_kept_and_loaded(self, groups: dict[str, dict[str, Group]]) -> None:
        services, again = Services(), Services()
        services.replace(groups)
        again.load(orjson.loads(orjson.dumps(services.plain())))
        assert again.groups == services.groups
        assert not again.heard

    @pytest.mark.parametrize("kept", [{}, {"services": [1]}, {"services": {"a": {"b": [1]}}}, []])
    def test_nonsense_is_refused(self, kept: object) -> None:
        with pytest.raises(ValueError, match="these are no endpoints"):
            Services().load(kept)  # type: ignore[arg-type]


def test_endpoints_that_are_not_ready_are_counted_once() -> None:
    services = Services()
    four = Group((HTTP,), (("10.0.0.1", "p1"),), ("p2", "p3"))
    six = Group((HTTP,), (("fd00::2", "p2"),), ("p1", "p3"))
    services.put("a", "v4", four)
    services.put("a", "v6", six)
    services.put("a", "other", Group((Port("metrics", 9000),), (), ("p4",)))
    assert services.absent(ServiceEndpoints(name="a", port="http")) == 1
    assert services.absent(ServiceEndpoints(name="unknown", port="http")) == 0
    again = Services()
    again.load(orjson.loads(orjson.dumps(services.plain())))
    assert again.groups == services.groups
