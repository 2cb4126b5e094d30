"""Which keys belong together: routes by router, routes by pool, pools by Secret."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from modelrouter.api.manifests import Key


class Index:
    """Sets of members by group; a member may be in several groups."""

    def __init__(self) -> None:
        self._members: dict[Key, set[Key]] = {}
        self._groups: dict[Key, frozenset[Key]] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._members)

    def of(self, group: Key) -> Collection[Key]:
        """The members of a group."""
        return self._members.get(group, frozenset())

    def groups(self, member: Key) -> frozenset[Key]:
        """The groups of a member."""
        return self._groups.get(member, frozenset())

    def put(self, member: Key, groups: Iterable[Key]) -> None:
        """A member belongs to exactly these groups from now on."""
        before, after = self.groups(member), frozenset(groups)
        for group in before - after:
            members = self._members[group]
            members.discard(member)
            if not members:
                del self._members[group]
        for group in after - before:
            self._members.setdefault(group, set()).add(member)
        if after:
            self._groups[member] = after
        else:
            self._groups.pop(member, None)
