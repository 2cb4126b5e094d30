"""Reading a route's canary from the cluster, and writing its annotation, with a user's rights."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from modelrouter.api.canary import CANARY_ANNOTATION
from modelrouter.cli.levers import LeverError, Order, Seen, read_canary
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import from_kubeconfig, in_cluster
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import MODEL_ROUTES

MANAGER = "modelrouter-cli"
"""Owner of the annotation."""

LOOK_SECONDS = 1.0
"""Between two looks at a canary that is waited for."""

DEFAULT_KUBECONFIG = "~/.kube/config"


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster and namespace a user means; what is None is told by the kubeconfig."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


class CanaryRoutes:
    """The routes of one namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    async def get(self, name: str) -> Seen:
        """A route's canary. Raises `LeverError` where there is none, `KubeError` without an
        answer."""
        try:
            return read_canary(await self._client.get(MODEL_ROUTES, name, self.namespace))
        except KubeError as error:
            if not error.is_not_found:
                raise
            raise LeverError(
                f"there is no ModelRoute {self.namespace}/{name}; see: kubectl get mroute -A"
            ) from None

    async def give(self, name: str, lever: Callable[[Seen], Order]) -> Order:
        """Pull a lever. Raises `LeverError` where it cannot be, `KubeError` without an answer."""
        seen = await self.get(name)
        order = lever(seen)
        metadata = {
            "name": name,
            "namespace": self.namespace,
            "annotations": {CANARY_ANNOTATION: order.annotation},
        }
        await self._client.merge(MODEL_ROUTES, {"metadata": metadata}, manager=MANAGER)
        return order

    async def wait(
        self,
        name: str,
        ended: Callable[[Seen], bool],
        told: Callable[[Seen], None],
        seconds: float | None = None,
    ) -> Seen | None:
        """Look at a canary until it has `ended`; None: it has not within this time. Each look is
        `told`. An API server that does not answer for a moment is asked again."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                seen = await self.get(name)
            except KubeError as error:
                if not error.is_passing:
                    raise
            else:
                told(seen)
                if ended(seen):
                    return seen
            if until is not None and time.monotonic() >= until:
                return None
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def canary_routes(place: Place) -> AsyncIterator[CanaryRoutes]:
    """The routes of a place. Raises `NoClusterError` where it cannot be reached."""
    path = place.kubeconfig or Path(os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG)
    path = path.expanduser()
    in_a_pod = os.environ.get("KUBERNETES_SERVICE_HOST") and not path.exists()
    if in_a_pod and place.kubeconfig is None and place.context is None:
        connection = in_cluster()
    else:
        connection = await from_kubeconfig(path, place.context)
    namespace = place.namespace or connection.namespace or "default"
    async with KubeClient(connection, user_agent=MANAGER) as client:
        yield CanaryRoutes(client, namespace)
