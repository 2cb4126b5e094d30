"""What the chart brings for Prometheus and Grafana."""

from __future__ import annotations

from pathlib import Path

import yaml

from cluster.control_plane.chart.rendering import CHART, of_kind, operator_config, render, the
from cluster.kubernetes.access import Kubernetes
from modelrouter.plan.deployment import plan_deployment
from modelrouter.plan.naming import ADMIN_PORT
from modelrouter.plan.vllm.naming import PORT as MODEL_PORT
from modelrouter.plan.vllm.naming import pool_labels


def test_monitors_and_policies_find_the_pods_of_routers(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    objects = render(
        kubernetes,
        {"networkPolicy": {"enabled": True}, "metrics": {"podMonitor": {"enabled": True}}},
        tmp_path,
    )
    routers = operator_config(objects).routers
    deployment = plan_deployment("default", "ai", routers)
    pod = deployment["spec"]["template"]
    ports = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]
        for port in container["ports"]
    }
    monitor = the(objects, "PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert [ports[endpoint["port"]] for endpoint in monitor["podMetricsEndpoints"]] == [ADMIN_PORT]
    assert set(monitor["podTargetLabels"]) <= set(pod["metadata"]["labels"])
    to_routers, to_servers = the(objects, "NetworkPolicy")["spec"]["egress"][-2:]
    assert to_routers["ports"] == [{"port": ADMIN_PORT}]
    selector = to_routers["to"][0]["podSelector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert to_servers["ports"] == [{"port": MODEL_PORT}]
    selector = to_servers["to"][0]["podSelector"]["matchLabels"]
    assert selector.items() <= pool_labels("llama").items()


def test_alerts_and_dashboard_are_those_of_the_files(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    wanted = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    objects = render(kubernetes, {"metrics": wanted}, tmp_path)
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert the(objects, "PrometheusRule")["spec"] == alerts
    (dashboard,) = (f for f in of_kind(objects, "ConfigMap") if "immutable" not in f)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"] == {
        "model-router.json": (CHART / "files" / "dashboard.json").read_text().rstrip()
    }
    assert {found["kind"] for found in objects} & {"PrometheusRule", "ServiceMonitor"} == {
        "PrometheusRule"
    }


def test_the_operators_metrics_keep_the_namespaces_that_they_tell_of(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    objects = render(kubernetes, {"metrics": {"serviceMonitor": {"enabled": True}}}, tmp_path)
    assert [e["honorLabels"] for e in the(objects, "ServiceMonitor")["spec"]["endpoints"]] == [True]
