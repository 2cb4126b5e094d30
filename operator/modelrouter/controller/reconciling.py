"""From the routes of a router to its objects in the cluster: plan, then write what differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from modelrouter.api.manifests import Key
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.controller.applying import Writer
from modelrouter.controller.children import Children
from modelrouter.controller.drift import differs
from modelrouter.controller.shards import ShardWriter
from modelrouter.controller.store import key_of
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import CONFIG_MAPS, SERVICES, Object, resource_of
from modelrouter.plan.children import plan_children
from modelrouter.plan.naming import OPERATOR
from modelrouter.plan.planner import PlannedRoutes

log = structlog.get_logger(__name__)


class RouterObjects:
    """The objects of one router."""

    def __init__(
        self, router: Key, children: Children, writer: Writer, config: OperatorConfig
    ) -> None:
        self.router = router
        self._children = children
        self._writer = writer
        self._config = config
        store = children.stores[CONFIG_MAPS]
        self.shards = ShardWriter(router, store, lambda: children.shards(router), writer)

    async def bring_about(self, plan: PlannedRoutes, planned: Callable[[], None]) -> None:
        """Write what differs from the plan. `planned` is called before the first write."""
        steps = self.shards.plan(plan.entries)
        planned()
        namespace, name = self.router
        # A Role that names a Secret which the operator itself may not read would be refused.
        secrets = [secret for secret in plan.secret_names if self._config.may_read(secret)]
        wanted = plan_children(name, namespace, {}, secrets, self._config.routers)
        last = next(i for i, obj in enumerate(wanted) if resource_of(obj) is SERVICES)
        works: list[Callable[[], Awaitable[None]]] = [
            *(partial(self._apply, obj) for obj in wanted[:last]),
            partial(self.shards.carry_out, steps),
            *(partial(self._apply, obj) for obj in wanted[last:]),
        ]
        # What is wrong with one object is no reason to leave the others as they are.
        errors: list[KubeError] = []
        for work in works:
            try:
                await work()
            except KubeError as error:
                if error.is_passing:
                    raise
                errors.append(error)
        if errors:
            raise errors[0]

    async def take_away(self) -> None:
        """No route names this router any more."""
        found = self._children.of(self.router)
        if found:
            log.info("router is not needed any more", router="/".join(self.router))
        for resource, obj in found:
            await self._writer.delete(resource, obj)

    async def _apply(self, wanted: Object) -> None:
        resource = resource_of(wanted)
        store = self._children.stores[resource]
        live = store.get(key_of(wanted))
        reason = differs(wanted, live, OPERATOR) if live is not None else "not there"
        if not reason:
            return
        log.info("writing", kind=resource.kind, object="/".join(key_of(wanted)), because=reason)
        store.put(await self._writer.apply(resource, wanted))


def problem_text(error: KubeError) -> str:
    """Why a router's objects cannot be written, for a status; empty where waiting will do."""
    if error.is_passing or error.is_not_found:
        return ""
    return f"{error.operation}: {error.message}"
