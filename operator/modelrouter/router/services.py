"""Endpoints of Services, as last heard, whoever told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelrouter.api.quantities import join_address
from modelrouter.api.router_config import ServiceEndpoints


class Port(NamedTuple):
    """A port that every endpoint of a group has."""

    name: str
    """Name of the Service's port, empty if it has none."""
    number: int
    """Where the endpoints themselves listen."""


class Group(NamedTuple):
    """Ready endpoints with the same ports: what one EndpointSlice tells."""

    ports: tuple[Port, ...]
    addresses: tuple[tuple[str, str], ...]
    """IP address, and what is behind it: a pod's uid, or nothing."""
    absent: tuple[str, ...] = ()
    """What is behind endpoints that are not ready, without those that are leaving: a pod's uid,
    or the address."""


Groups = Mapping[str, tuple[Group, ...]]
"""By the name of the Service."""


class Services:
    """The groups of every Service of a namespace. Unknown Services have no endpoints."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, Group]] = {}
        self.heard = False
        """Whether the cluster has told all of it once."""

    @property
    def groups(self) -> Groups:
        """A copy that stays as it is."""
        return {service: tuple(known.values()) for service, known in self._groups.items()}

    def put(self, service: str, name: str, group: Group) -> bool:
        """Take a group's new state; whether it differs."""
        known = self._groups.setdefault(service, {})
        if known.get(name) == group:
            return False
        known[name] = group
        return True

    def remove(self, service: str, name: str) -> bool:
        """Forget a group; whether it was known."""
        known = self._groups.get(service, {})
        gone = known.pop(name, None) is not None
        if not known:
            self._groups.pop(service, None)
        return gone

    def replace(self, groups: Mapping[str, Mapping[str, Group]]) -> set[str]:
        """Take the state of everything: service → name → group. The Services that differ."""
        before = self._groups
        self._groups = {service: dict(known) for service, known in groups.items()}
        self.heard = True
        services = before.keys() | self._groups.keys()
        return {name for name in services if before.get(name) != self._groups.get(name)}

    def addresses(self, wanted: ServiceEndpoints) -> tuple[str, ...]:
        """`ip:port` of the ready endpoints behind a port, sorted, each once."""
        return addresses_of(self._groups.get(wanted.name, {}).values(), wanted.port)

    def absent(self, wanted: ServiceEndpoints) -> int:
        """Endpoints behind a port that are not ready and not leaving, each once."""
        groups = self._groups.get(wanted.name, {}).values()
        behind = [group for group in groups if _number(group, wanted.port) is not None]
        ready = {pod for group in behind for _, pod in group.addresses}
        return len({each for group in behind for each in group.absent} - ready)

    def plain(self) -> dict[str, Any]:
        """As plain data, to be kept."""
        # orjson writes no named tuples.
        return {
            "services": {
                service: {
                    name: [list(map(tuple, group.ports)), group.addresses, group.absent]
                    for name, group in known.items()
                }
                for service, known in self._groups.items()
            }
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        """Take what `plain` gave. Raises `ValueError` if it is something else."""
        try:
            self._groups = {
                service: {name: _group(*group) for name, group in known.items()}
                for service, known in kept["services"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"these are no endpoints: {error!r}") from None


def addresses_of(groups: Iterable[Group], port: int | str) -> tuple[str, ...]:
    """`ip:port` of the endpoints behind a port, sorted, each once.

    A Service with both IP families lists each pod twice, in groups of their own; then its IPv4
    address is taken, so that every pod gets one share of the requests and of the probes.
    """
    found: dict[str, str] = {}
    for group in groups:
        number = _number(group, port)
        if number is not None:
            found.update((join_address(host, number), pod) for host, pod in group.addresses)
    pods = {pod for address, pod in found.items() if pod and not address.startswith("[")}
    return tuple(sorted(a for a, pod in found.items() if not a.startswith("[") or pod not in pods))


def _number(group: Group, port: int | str) -> int | None:
    """Where the endpoints of a group listen for a port; None: they have no such port."""
    for name, number in group.ports:
        if port == (name if isinstance(port, str) else number):
            return number
    return None


def _group(
    ports: Iterable[Iterable[Any]],
    addresses: Iterable[Iterable[str]],
    absent: Iterable[str] = (),
) -> Group:
    return Group(
        tuple(Port(str(name), int(number)) for name, number in ports),
        tuple((str(host), str(pod)) for host, pod in addresses),
        tuple(map(str, absent)),
    )
