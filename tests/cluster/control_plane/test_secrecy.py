"""The check that no secret value shows up finds one wherever it is, and does not repeat it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.secrecy import Recorder, planted, spellings

# The run's own recorder must not find what is planted here on purpose.
MARK = "other-mark-9b3c"
VALUE = f"{MARK}-value"


@pytest.fixture
def recorder(kubernetes: Kubernetes) -> Iterator[Recorder]:
    """It follows the cluster, for a mark of its own."""
    found = Recorder(kubernetes, MARK)
    found.start()
    eventually(lambda: found.looked_at["ConfigMap"] > 0)
    yield found
    found.stop()


def test_it_is_found_in_objects_that_are_gone_and_in_base64(
    recorder: Recorder, kubernetes: Kubernetes, namespace: str, crds: None
) -> None:
    encoded = b64encode(f"key: {VALUE}".encode()).decode()
    route = {"models": ["chat"], "pools": [VALUE]}
    kubernetes.apply(
        _object("v1", "ConfigMap", "plain", data={"text": f"Bearer {VALUE}!"}),
        _object("v1", "ConfigMap", "encoded", data={"text": encoded}),
        _object("v1", "ConfigMap", "innocent", data={"text": "nothing here"}),
        _object("modelrouter.dev/v1alpha1", "ModelRoute", "chat", spec=route),
        namespace=namespace,
    )
    kubernetes.kubectl("delete", "configmap", "plain", "encoded", "-n", namespace)
    _tell(kubernetes, namespace)
    # Definitions that have just come may not be followed yet.
    eventually(lambda: recorder.looked_at["ModelRoute"] > 0)
    places = _places(recorder, namespace)
    assert places == {
        f"ConfigMap {namespace}/plain: .data.text",
        f"ConfigMap {namespace}/encoded: .data.text",
        f"ModelRoute {namespace}/chat: .spec.pools[0]",
        f"Event {namespace}/told: .note",
    }


def test_it_is_found_in_the_project_s_own_pods_only(
    recorder: Recorder, kubernetes: Kubernetes, namespace: str
) -> None:
    """A simulated provider may have its key in its arguments."""
    for name in ("model-router", "provider"):
        container = {"name": "main", "image": "none", "args": [f"--key={VALUE}"]}
        pod = _object("v1", "Pod", name, spec={"containers": [container]})
        pod["metadata"] = {"name": name, "labels": {"app.kubernetes.io/name": name}}
        kubernetes.apply(pod, namespace=namespace)
    assert _places(recorder, namespace) == {
        f"Pod {namespace}/model-router: .spec.containers[0].args[0]"
    }


def test_it_is_found_in_logs(recorder: Recorder, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text(f"one\nauthorization: Bearer {VALUE}\n")
    recorder.look_at_files([log, tmp_path / "gone.log"])
    assert f"{log}, line 2" in recorder.stop()


def test_a_secret_that_would_go_unnoticed_is_named(
    recorder: Recorder, kubernetes: Kubernetes, namespace: str
) -> None:
    value = planted()  # for the run's recorder; this one has another mark
    kubernetes.apply(
        _object("v1", "Secret", "short", stringData={"api-key": value}), namespace=namespace
    )
    assert _places(recorder, namespace) == {
        f"Secret {namespace}/short: api-key is not made by planted()"
    }


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "Bearer "])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_base64_is_recognised_wherever_the_mark_begins(before: str, after: str) -> None:
    whole = b64encode(f"{before}{MARK}{after}".encode())
    assert spellings(MARK).search(b'"' + whole + b'"')
    assert not spellings(MARK).search(b64encode(f"{before}{MARK[:-1]}?{after}".encode()))


def _places(recorder: Recorder, namespace: str) -> set[str]:
    """What it found in the namespace: other tests' Secrets lack this mark."""
    places = recorder.stop()
    assert not any(VALUE in place for place in places)
    return {place for place in places if f" {namespace}/" in place}


def _object(version: str, kind: str, name: str, **content: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **content}


def _tell(kubernetes: Kubernetes, namespace: str) -> None:
    regarding = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "namespace": namespace}
    event = _object(
        "events.k8s.io/v1",
        "Event",
        "told",
        note=f"refused {VALUE}",
        reason="Test",
        type="Normal",
        action="Test",
        reportingController="test",
        reportingInstance="test",
        eventTime="2024-01-01T00:00:00.000000Z",
        regarding=regarding,
    )
    kubernetes.apply(event, namespace=namespace)
