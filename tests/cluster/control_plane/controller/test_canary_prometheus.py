"""A canary judged by what Prometheus tells."""

from __future__ import annotations

from cluster.control_plane.controller.canaries import Stage, canary, figures
from cluster.control_plane.controller.prometheus import Prometheus
from cluster.control_plane.controller.waiting import eventually


def test_figures_come_from_prometheus_with_queries_of_ones_own(stage: Stage) -> None:
    prometheus = Prometheus()
    steps = [{"weight": 10, "pause": "2s"}, {"weight": 50, "pause": "1h"}]
    query = 'queue{ns="{{namespace}}",route="{{route}}",rule="{{rule}}",pool="{{pool}}"}'
    checks = [
        {"metric": "p95Latency", "maxRatioToStable": "1.3"},
        {"name": "queue", "query": query, "maxRatioToStable": "2"},
    ]
    analysis = {"interval": "1s", "checks": checks, "prometheus": {"address": prometheus.url}}
    stage.begin(steps=steps, analysis=analysis)
    stage.reaches(("Progressing", 1, 10))
    space = stage.here.namespace

    def asked(name: str) -> str:
        return f'queue{{ns="{space}",route="chat",rule="pools",pool="{name}"}}'

    # No figures at all: neither passed nor failed, and the query that Prometheus refuses is told.
    eventually(lambda: "refuses the query: unknown query" in stage.status()["message"])
    assert stage.status()["analysis"] == "Inconclusive"
    labels = {"namespace": space, "route": "chat", "canary": stage.status()["id"]}
    prometheus.measure(labels, "stable", figures())
    prometheus.measure(labels, "canary", figures())
    prometheus.answers = {asked("old"): "3", asked("new"): "4"}
    stage.reaches(("Progressing", 2, 50))
    eventually(lambda: stage.status().get("analysis") == "Passing")
    values = {check["name"]: check["value"] for check in stage.status()["checks"]}
    assert values["queue"] == "4"
    # Away: nobody is judged without figures.
    prometheus.stop()
    eventually(lambda: "cannot be asked" in stage.status()["message"])
    assert stage.place() == ("Progressing", 2, 50)
    again = Prometheus()
    again.measure(labels, "stable", figures())
    again.measure(labels, "canary", figures(milliseconds=500))
    again.answers = {asked("old"): "3", asked("new"): "4"}
    analysis["prometheus"] = {"address": again.url}
    stage.here.apply(canary(steps=steps, analysis=analysis))
    stage.reaches(("RolledBack", 2, 0))
    again.stop()
