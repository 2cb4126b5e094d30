"""The objects of a pool whose servers the operator runs: made, kept as planned, and taken away."""

from __future__ import annotations

import json
from typing import Any

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.serverpods import pod_names, vllm_pool
from cluster.control_plane.controller.waiting import eventually

NAME, CACHE = "model-pool-llama", "model-pool-llama-cache"
KINDS = ("deployment", "service", "poddisruptionbudget")
LABEL = "modelrouter.dev/adapter"
FULL: dict[str, Any] = {
    "tensorParallelSize": 2,
    "resources": {"limits": {"nvidia.com/gpu": 2, "memory": "64Gi"}, "requests": {"cpu": "0.5"}},
    "huggingFace": {"tokenSecretRef": {"name": "hf", "key": "token"}},
    "cache": {"size": "1024Mi"},
    "loraAdapters": [
        {"name": "support-de", "source": "hf://acme/support-de"},
        {"name": "Fr_1", "source": "hf://acme/fr"},
    ],
    "podTemplate": {
        "metadata": {"labels": {"team": "ml"}, "annotations": {"example.com/a": "b"}},
        "spec": {
            "nodeSelector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "containers": [
                {
                    "name": "vllm",
                    "env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}],
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                },
                {"name": "sidecar", "image": "busybox", "ports": [{"containerPort": 9}]},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}],
        },
    },
}


def applied(here: Resources, **vllm: Any) -> None:
    here.apply(vllm_pool("llama", **vllm))
    eventually(lambda: NAME in here.names("deployment"))


def test_a_pool_brings_its_objects_and_owns_them(
    operator: Operator, resources: Resources, installation: Installation
) -> None:
    here = resources
    applied(here, **FULL)
    for kind in KINDS:
        eventually(lambda kind=kind: NAME in here.names(kind))
    eventually(lambda: CACHE in here.names("pvc"))
    eventually(lambda: len([n for n in here.names("service") if "-lora-" in n]) == 2)
    uid = here.get("mpool", "llama")["metadata"]["uid"]
    for kind in (*KINDS, "pvc"):
        for obj in here.all(kind):
            (owner,) = obj["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == (uid, True)
            assert not owner["blockOwnerDeletion"]
    # Whatever the API server makes of our objects must not look like a difference.
    operator.settle()
    count = len(installation.writes())
    here.kubernetes.kubectl(
        "annotate", "deployment", NAME, "example.com/touched=1", "-n", here.namespace
    )
    here.kubernetes.kubectl("label", "mpool", "llama", "team=x", "-n", here.namespace)
    operator.settle()
    assert installation.writes(since=count) == []
    assert "not taken as written" not in installation.log_text()


def test_routing_facts_never_touch_the_servers(
    operator: Operator, resources: Resources, installation: Installation
) -> None:
    here = resources
    applied(here, replicas=1)
    (pod,) = pod_names(here, "llama")
    operator.settle()
    before = here.get("deployment", NAME)["metadata"]["generation"]
    changed = vllm_pool("llama", replicas=1)
    changed["spec"] |= {
        "price": {"input": "0.1", "output": "0.2"},
        "quality": {"default": "0.7"},
        "features": ["tools"],
        "contextWindow": 8192,
        "zone": "eu",
        "dataClasses": ["internal"],
        "loadBalancing": "PrefixHash",
        "maxConcurrentRequests": 8,
        "outlierDetection": {"consecutiveErrors": 2},
    }
    count = len(installation.writes())
    here.apply(changed)
    generation = here.get("mpool", "llama")["metadata"]["generation"]

    def seen() -> bool:
        return bool(here.get("mpool", "llama")["status"]["observedGeneration"] == generation)

    eventually(seen)
    operator.settle()
    assert here.get("deployment", NAME)["metadata"]["generation"] == before
    assert pod_names(here, "llama") == [pod]
    written = {event["objectRef"]["resource"] for event in installation.writes(since=count)}
    assert written <= {"modelpools"}


def test_what_is_edited_by_hand_is_put_back_and_foreign_fields_stay(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here, kubectl = resources, resources.kubernetes.kubectl
    applied(here, replicas=2)
    operator.settle()
    for kind in KINDS:
        kubectl("annotate", kind, NAME, "example.com/foreign=kept", "-n", namespace)
        kubectl("label", kind, NAME, "modelrouter.dev/pool-team=kept", "-n", namespace)
    kubectl("scale", "deployment", NAME, "--replicas=7", "-n", namespace)
    kubectl("set", "image", f"deployment/{NAME}", "vllm=evil", "-n", namespace)
    kubectl("set", "env", f"deployment/{NAME}", "EXTRA=kept", "-n", namespace)
    kubectl("patch", "service", NAME, "-n", namespace, "--type=json", "-p",
            '[{"op": "replace", "path": "/spec/ports/0/port", "value": 9090}]')  # fmt: skip

    def put_back() -> bool:
        spec = here.get("deployment", NAME)["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        assert spec["replicas"] == 2
        assert container["image"] == "vllm/vllm-openai:v0.33.0"
        assert {"name": "EXTRA", "value": "kept"} in container["env"]
        assert [p["port"] for p in here.get("service", NAME)["spec"]["ports"]] == [8000]
        for kind in KINDS:
            metadata = here.get(kind, NAME)["metadata"]
            assert metadata["annotations"]["example.com/foreign"] == "kept"
            assert metadata["labels"]["modelrouter.dev/pool-team"] == "kept"
        return True

    eventually(put_back)
    for kind in KINDS:
        here.delete(kind, NAME)
    for kind in KINDS:
        eventually(lambda kind=kind: NAME in here.names(kind))


def test_what_is_not_wanted_any_more_goes_and_the_cache_stays_with_its_pool(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    applied(here, **FULL)
    eventually(lambda: CACHE in here.names("pvc"))

    def adapters() -> list[str]:
        found = (obj["metadata"]["labels"] for obj in here.all("service"))
        return sorted(each[LABEL] for each in found if LABEL in each)

    eventually(lambda: adapters() == ["Fr_1", "support-de"])
    fewer = {**FULL, "loraAdapters": FULL["loraAdapters"][:1]}
    del fewer["cache"]
    here.apply(vllm_pool("llama", **fewer))
    eventually(lambda: adapters() == ["support-de"])

    def mounts_cache() -> bool:
        return CACHE in json.dumps(here.get("deployment", NAME)["spec"]["template"])

    eventually(lambda: not mounts_cache())
    assert CACHE in here.names("pvc")

    # Somebody else's object, although it says that it is the pool's.
    labels = here.get("service", NAME)["metadata"]["labels"]
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "foreign", "labels": labels},
        "spec": {"clusterIP": "None", "ports": [{"port": 1}]},
    }
    here.apply(foreign)

    # Another source: no servers.
    other = vllm_pool("llama")
    other["spec"] = {"model": "m", "endpoints": ["10.0.0.1:8000"]}
    here.kubernetes.kubectl("replace", "-n", namespace, "-f", "-", input=json.dumps(other))

    def gone() -> bool:
        for kind in KINDS:
            assert NAME not in here.names(kind)
        assert adapters() == []
        return True

    eventually(gone, within=60)
    assert "foreign" in here.names("service")
    assert CACHE in here.names("pvc")

    # With the pool goes everything.
    here.delete("mpool", "llama")
    eventually(lambda: CACHE not in here.names("pvc"), within=90)


def test_a_deleted_pool_takes_its_objects_along_with_the_operator_down(
    operator: Operator, resources: Resources
) -> None:
    here = resources
    applied(here, **FULL)
    eventually(lambda: CACHE in here.names("pvc"))
    operator.settle()
    operator.stop()
    here.delete("mpool", "llama")

    def gone() -> bool:
        for kind in (*KINDS, "pvc"):
            assert [name for name in here.names(kind) if name.startswith(NAME)] == []
        return True

    eventually(gone, within=90)


def test_a_pool_made_anew_under_its_name_gets_objects_of_its_own(
    operator: Operator, resources: Resources
) -> None:
    here = resources
    applied(here)
    here.delete("mpool", "llama")
    applied(here)
    uid = here.get("mpool", "llama")["metadata"]["uid"]

    def owned() -> bool:
        for kind in KINDS:
            owners = here.get(kind, NAME)["metadata"].get("ownerReferences", [])
            assert [owner["uid"] for owner in owners] == [uid]
        return True

    eventually(lambda: all(NAME in here.names(kind) for kind in KINDS), within=60)
    eventually(owned, within=60)


def test_nothing_of_a_pool_s_labels_and_annotations_reaches_its_objects(
    operator: Operator, resources: Resources
) -> None:
    pool = vllm_pool("llama", cache={"size": "1Gi"})
    pool["metadata"] |= {
        "labels": {"argocd.argoproj.io/instance": "shop", "app.kubernetes.io/instance": "shop"},
        "annotations": {"argocd.argoproj.io/tracking-id": "shop:modelrouter.dev/ModelPool:x/y"},
    }
    resources.apply(pool)
    eventually(lambda: NAME in resources.names("deployment"))
    operator.settle()
    for kind in (*KINDS, "pvc", "pod"):
        for obj in resources.all(kind):
            if obj["metadata"]["name"].startswith(NAME):
                assert "argocd" not in json.dumps(obj)
                assert '"shop"' not in json.dumps(obj)


def test_a_change_of_one_object_that_is_refused_stops_no_other(
    operator: Operator, resources: Resources
) -> None:
    here = resources
    applied(here, cache={"size": "10Gi"})
    eventually(lambda: CACHE in here.names("pvc"))
    here.apply(vllm_pool("llama", cache={"size": "5Gi"}, replicas=3))
    here.expect("mpool", "llama", PodsReady=("False", "PoolNotApplied"))
    message = here.message("mpool", "llama", "PodsReady")
    assert "persistentvolumeclaims/model-pool-llama-cache" in message
    assert here.get("deployment", NAME)["spec"]["replicas"] == 3
    here.apply(vllm_pool("llama", cache={"size": "10Gi"}, replicas=3))

    def mended() -> bool:
        return here.conditions("mpool", "llama")["PodsReady"][1] != "PoolNotApplied"

    eventually(mended, within=60)
