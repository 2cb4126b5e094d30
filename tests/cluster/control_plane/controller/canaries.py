"""Canaries of short steps, by figures that a test says."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.control_plane.controller.loadedrouters import LoadedRouter
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import pool, route
from modelrouter.api.router_config import RouteConfig
from modelrouter.plan.canary.histogram import bucket_of
from modelrouter.plan.canary.measurement import Measurement, Moments
from modelrouter.plan.shards import route_key

Place = tuple[str, int, int]
"""Phase, step and weight."""
POOLS = [pool(name, f"127.0.0.1:{port}", model="m") for name, port in (("old", 9), ("new", 10))]


def figures(
    requests: int = 1000,
    *,
    errors: int = 0,
    milliseconds: float = 200,
    dollars: float = 0.01,
    score: float = 0.8,
) -> Measurement:
    """What an arm did; about half of its durations and costs are a little less."""
    good = requests - errors
    durations = {bucket_of(milliseconds): good - good // 2, bucket_of(milliseconds) - 1: good // 2}
    costs = [dollars, dollars * 0.9] * (good // 2)
    scores = [score, score - 0.1] * 100
    return Measurement(
        requests,
        {"serverError": errors} if errors else {},
        {bucket: count for bucket, count in durations.items() if count},
        cost=Moments.of(costs),
        quality=Moments.of(scores),
    )


def canary(name: str = "chat", **given: Any) -> dict[str, Any]:
    """A route with a canary of short steps."""
    spec = {
        "from": "old",
        "to": "new",
        "steps": [{"weight": weight, "pause": "2s"} for weight in (5, 25, 50)],
        "analysis": {"interval": "1s", "checks": [{"metric": "successRate", "min": "0.99"}]},
        **given,
    }
    return route(name, pools=["old", "new"], canary=spec)


class Stage:
    """A router whose pod tells what the test says, and what becomes of canaries."""

    def __init__(self, here: Resources, pod: LoadedRouter) -> None:
        self.here, self.pod = here, pod
        for name in ("old", "new"):
            pod.tell(name, 0, ready=1)

    def begin(self, name: str = "chat", **given: Any) -> None:
        """Apply a route with a canary, and wait until that has an id."""
        self.here.apply(*POOLS, canary(name, **given))
        eventually(lambda: self.status(name))

    def measure(
        self, candidate: Measurement, stable: Measurement | None = None, name: str = "chat"
    ) -> None:
        """The pod tells these figures of a route's arms."""
        stable = stable or figures()
        self.pod.measure(name, self.status(name)["id"], stable=stable, candidate=candidate)

    def status(self, name: str = "chat") -> dict[str, Any]:
        found = self.here.get("mroute", name).get("status", {}).get("canary", {})
        assert isinstance(found, dict)
        return found

    def place(self, name: str = "chat") -> Place:
        found = self.status(name)
        return found.get("phase", ""), found.get("step", 0), found.get("weight", 0)

    def reaches(self, *wanted: Place, name: str = "chat", within: float = 60) -> dict[str, Any]:
        """Wait until the canary stands at one of these places; its status."""
        eventually(lambda: self.place(name) in wanted, within=within)
        return self.status(name)

    def weights(self, name: str = "chat") -> dict[str, int]:
        """The weights that routers have, without those of 0."""
        for config in self.here.all("configmap"):
            text = (config.get("data") or {}).get(route_key(name))
            if text:
                rules = RouteConfig.model_validate_json(text).rules
                return {t.pool: t.weight for t in rules[-1].targets if t.weight}
        return {}

    def told_weights(self, name: str = "chat") -> dict[str, int]:
        """The weights that the status tells, without those of 0."""
        traffic = self.here.get("mroute", name)["status"]["traffic"]
        return {share["pool"]: share["weight"] for share in traffic if share["weight"]}

    def reasons(self, name: str = "chat") -> list[str]:
        """The Events about its canary, oldest first."""
        return [r for _, r in self.here.events("ModelRoute", name) if r.startswith("Canary")]

    def annotate(self, value: str) -> None:
        """Pull a lever; empty: let it go."""
        given = f"modelrouter.dev/canary={value}" if value else "modelrouter.dev/canary-"
        self.here.kubernetes.kubectl(
            "annotate", "mroute", "chat", given, "--overwrite", "-n", self.here.namespace
        )


def begun(resources: Resources, router: Callable[[], LoadedRouter]) -> Stage:
    """A stage with the pools, another route and a router pod."""
    resources.apply(*POOLS, route("first", pools=["old", "new"]))
    return Stage(resources, router())


@contextmanager
def following(
    here: Resources, file: Path, name: str = "chat"
) -> Iterator[Callable[[], list[Place]]]:
    """Every place that a canary has been at, as the API server told it, repeats left out."""
    fields = " ".join(f"{{.status.canary.{each}}}" for each in ("phase", "step", "weight"))
    watch = ("get", "mroute", name, "-n", here.namespace, "--watch", "-o")
    with file.open("w") as out:
        kubectl = subprocess.Popen(
            ["kubectl", *watch, f'jsonpath={fields}{{"\\n"}}'],
            env=here.kubernetes.environment, stdout=out, stderr=out,
        )  # fmt: skip

    def places() -> list[Place]:
        lines = (line.split() for line in file.read_text().splitlines())
        found = [(line[0], int(line[1]), int(line[2])) for line in lines if len(line) == 3]
        return [place for place, _ in itertools.groupby(found)]

    try:
        yield places
    finally:
        kubectl.kill()
        kubectl.wait()
