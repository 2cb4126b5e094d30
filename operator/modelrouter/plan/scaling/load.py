"""The load of a pool: what its routers and its model servers tell, summed up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelrouter.api.autoscaling import TargetMetric
from modelrouter.api.pool_name import pool_of
from modelrouter.plan.facts import PoolLoad


@dataclass(frozen=True, slots=True)
class RouterLoads:
    """What one pod of a router tells."""

    pod: str
    pools: Mapping[str, PoolLoad] | None
    """By pool and by adapter; None: the pod cannot be asked."""
    sees_endpoints: bool = False
    """Whether it sees a ready endpoint of the pool."""


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What one model server tells of itself."""

    pod: str
    waiting_requests: float | None = None
    """`vllm:num_requests_waiting`. None: it could not be asked, or does not tell."""
    kv_cache_percent: float | None = None
    """`vllm:kv_cache_usage_perc` in percent. None: likewise."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a pool at one time."""

    requests: int = 0
    """Requests under way or held by a router."""
    waiting: int = 0
    """Those held by a router."""
    amount: float = 0.0
    """What the target is about, summed over all that tell it."""
    ready: bool = True
    """Whether some router sees a ready endpoint, or none looks."""
    missing: tuple[str, ...] = ()
    """Who ought to tell and does not. If there is any, all figures are lower bounds."""

    @property
    def complete(self) -> bool:
        """Whether the figures are the whole load."""
        return not self.missing


def measure(
    pool: str,
    metric: TargetMetric,
    routers: Iterable[RouterLoads],
    servers: Sequence[ServerLoad] = (),
    unreachable: Sequence[str] = (),
) -> Load:
    """Sum up the load of a pool.

    `routers` are the pods that take requests for it, `servers` its ready model servers,
    `unreachable` those beyond the pods that ought to tell, such as a router without a ready pod.
    """
    in_flight = waiting = 0
    told = list(routers)
    ready = not told and not unreachable
    missing = list(unreachable)
    for router in told:
        found = [load for name, load in (router.pools or {}).items() if pool_of(name) == pool]
        if not found:
            missing.append(f"router pod {router.pod}")
        ready = ready or router.sees_endpoints
        in_flight += sum(load.in_flight for load in found)
        waiting += sum(load.waiting for load in found)
    amount = float(in_flight + waiting)
    if metric != "running_requests":
        figures = [(server.pod, _figure(server, metric)) for server in servers]
        amount = sum(figure for _, figure in figures if figure is not None)
        missing += [f"pod {pod}" for pod, figure in figures if figure is None]
    return Load(in_flight + waiting, waiting, amount, ready, tuple(missing))


def _figure(server: ServerLoad, metric: TargetMetric) -> float | None:
    return server.waiting_requests if metric == "waiting_requests" else server.kv_cache_percent
