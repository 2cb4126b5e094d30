"""A router's configuration in its ConfigMaps: from what they hold to what they should hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from modelrouter.api.manifests import Key
from modelrouter.controller.applying import Writer
from modelrouter.controller.children import ChildStore
from modelrouter.controller.drift import differs, owned_fields
from modelrouter.controller.versions import VersionHistory
from modelrouter.kube.resources import CONFIG_MAPS
from modelrouter.plan.children import plan_shard
from modelrouter.plan.naming import OPERATOR, shard_name
from modelrouter.plan.shards import Entries, Shards, Write, merged, place, writes


class ShardWriter:
    """Writes the shards of one router and keeps the history of what they held."""

    def __init__(
        self,
        router: Key,
        store: ChildStore,
        read: Callable[[], dict[int, dict[str, str]]],
        writer: Writer,
    ) -> None:
        self.history = VersionHistory()
        self._namespace, self._name = router
        self._store = store
        self._read = read
        self._writer = writer
        self._known: Mapping[str, str] | None = None

    def plan(self, entries: Entries) -> list[Write]:
        """What has to be written for these entries; routes that it concerns are behind now."""
        current = self._read()
        present = merged(current)
        if present != self._known:
            # The first look, or somebody edited a ConfigMap by hand: routers see that too.
            self._known = present
            self.history.restart(present, time.monotonic())
        self.history.expect(entries, present)
        if entries:
            wanted = place(entries, current)
            steps = writes(current, wanted)
        else:
            # A router without a single route that works still needs to be told so.
            wanted = {0: {}}
            steps = [Write(index, None) for index in sorted(current) if index]
            if current.get(0) != {}:
                steps.insert(0, Write(0, {}))
        return self._seizures(current, wanted) + steps + self._repairs(steps, current)

    async def carry_out(self, steps: list[Write]) -> None:
        """Write."""
        state: dict[int, Mapping[str, str]] = dict(self._read())
        for step in steps:
            before = merged(state)
            if step.data is None:
                state.pop(step.index, None)
            else:
                state[step.index] = step.data
            after = merged(state)
            if before != after:
                self.history.begin(before, after)
            await self._write(step)
            if before != after:
                self.history.finish(time.monotonic())
            self._known = after
        self.history.settle()

    async def _write(self, step: Write) -> None:
        if step.data is not None:
            wanted = plan_shard(self._name, self._namespace, step.index, step.data)
            self._store.put(await self._writer.apply(CONFIG_MAPS, wanted))
            return
        obj = self._store.get((self._namespace, shard_name(self._name, step.index)))
        if obj is not None:
            await self._writer.delete(CONFIG_MAPS, obj)

    def _seizures(self, current: Shards, wanted: Shards) -> list[Write]:
        """Shards with entries that somebody else added: routers would serve them.

        Server-side apply removes only what is ours alone, so such an entry is first made ours by
        giving it another value.
        """
        seizures = []
        for index, data in current.items():
            live = self._store.get((self._namespace, shard_name(self._name, index)))
            owned = (owned_fields(live, OPERATOR) or {}).get("f:data", {}) if live else {}
            goal = wanted.get(index, {})
            foreign = [key for key in data if f"f:{key}" not in owned and key not in goal]
            if foreign and live is not None:
                seizures.append(Write(index, {**data, **dict.fromkeys(foreign, "null")}))
        return seizures

    def _repairs(self, steps: list[Write], current: dict[int, dict[str, str]]) -> list[Write]:
        """Shards whose data is right, but a label of theirs is not, or somebody owns our fields."""
        written = {step.index for step in steps}
        repairs = []
        for index, data in current.items():
            live = self._store.get((self._namespace, shard_name(self._name, index)))
            if index in written or live is None:
                continue
            wanted = plan_shard(self._name, self._namespace, index, data)
            if differs(wanted, live, OPERATOR):
                repairs.append(Write(index, data))
        return repairs
