"""What is laid over a planned pod: nothing changes what it does not name."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.api.pod_template import PodTemplate
from modelrouter.plan.vllm.overlay import merge, overlaid

Object = dict[str, Any]

TEMPLATES = [
    found["spec"]["template"]
    for case in sorted((Path(__file__).parent / "pools").iterdir())
    for found in yaml.safe_load_all((case / "out.yaml").read_text())
    if found["kind"] == "Deployment"
]
NAMES = st.sampled_from(["a", "b", "c", "vllm", "cache"])
SCALARS = st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["", "x", "y"]))


def named(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Object]]:
    item = st.fixed_dictionaries({"name": NAMES}, optional=fields)
    return st.lists(item, max_size=3, unique_by=lambda item: item["name"])


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({}, optional=fields)


MOUNTS = st.lists(
    st.fixed_dictionaries({"mountPath": NAMES}, optional={"name": NAMES, "readOnly": SCALARS}),
    max_size=3,
    unique_by=lambda item: item["mountPath"],
)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.integers(1, 2), "protocol": st.sampled_from(["TCP", "UDP"])},
        optional={"name": NAMES},
    ),
    max_size=3,
    unique_by=lambda item: (item["containerPort"], item["protocol"]),
)
ACTIONS = st.sampled_from([{"exec": {"command": ["a"]}}, {"httpGet": {"path": "/"}}, {}])
CONTAINERS = named(
    image=SCALARS,
    args=st.lists(st.sampled_from(["x", "y"]), max_size=2),
    env=named(value=SCALARS),
    volumeMounts=MOUNTS,
    ports=PORTS,
    startupProbe=ACTIONS,
    resources=some({"limits": st.dictionaries(NAMES, SCALARS, max_size=2)}),
)
SPECS = some(
    {
        "containers": CONTAINERS,
        "initContainers": CONTAINERS,
        "volumes": named(emptyDir=st.just({}), hostPath=st.just({"path": "/"})),
        "imagePullSecrets": named(),
        "tolerations": st.lists(st.dictionaries(NAMES, SCALARS, max_size=2), max_size=2),
        "nodeSelector": st.dictionaries(NAMES, SCALARS, max_size=2),
        "hostNetwork": st.booleans(),
    }
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_empty_overlay_changes_no_planned_pod(template: Object) -> None:
    assert overlaid(template, PodTemplate()) == template
    assert overlaid(template, PodTemplate.model_validate({"metadata": {}, "spec": {}})) == template


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_pod_laid_over_itself_changes_nothing(template: Object) -> None:
    assert merge(template, template) == template


@settings(deadline=None, max_examples=300)
@given(base=SPECS)
def test_an_empty_overlay_changes_nothing(base: Object) -> None:
    assert merge(base, {}) == base
    assert merge(base, base) == base


@settings(deadline=None, max_examples=300)
@given(base=SPECS, patch=SPECS)
def test_an_overlay_is_kept_whole_and_nothing_else_changes(base: Object, patch: Object) -> None:
    before = copy.deepcopy((base, patch))
    merged = merge(base, patch)
    assert (base, patch) == before
    assert merge(merged, patch) == merged
    for name, value in base.items():
        if name not in patch:
            assert merged[name] == value
    for field in ("containers", "volumes"):
        kept = {item["name"] for item in [*base.get(field, []), *patch.get(field, [])]}
        assert {item["name"] for item in merged.get(field, [])} == kept
    for name, value in patch.items():
        if not isinstance(value, dict | list):
            assert merged[name] == value


def text(value: str) -> Any:
    return yaml.safe_load(value)


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        # Objects field by field.
        ("{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}}", "{a: {b: 1, c: 3, d: 4}}"),
        # Lists by their keys.
        ("{containers: [{name: a, image: x, tty: true}, {name: b}]}",
         "{containers: [{name: a, image: y}, {name: c}]}",
         "{containers: [{name: a, image: y, tty: true}, {name: b}, {name: c}]}"),
        ("{volumeMounts: [{mountPath: /a, name: x, readOnly: true}]}",
         "{volumeMounts: [{mountPath: /a, name: y}, {mountPath: /b, name: x}]}",
         "{volumeMounts: [{mountPath: /a, name: y, readOnly: true}, {mountPath: /b, name: x}]}"),
        ("{ports: [{containerPort: 1, protocol: TCP, name: x}]}",
         "{ports: [{containerPort: 1, name: y}, {containerPort: 1, protocol: UDP}]}",
         "{ports: [{containerPort: 1, protocol: TCP, name: y},"
         " {containerPort: 1, protocol: UDP}]}"),
        ("{topologySpreadConstraints: [{topologyKey: a, maxSkew: 1}]}",
         "{topologySpreadConstraints: [{topologyKey: a, maxSkew: 2}]}",
         "{topologySpreadConstraints: [{topologyKey: a, maxSkew: 2}]}"),
        # Lists without keys as a whole.
        ("{tolerations: [{key: a}], args: [x]}", "{tolerations: [{key: b}], args: []}",
         "{tolerations: [{key: b}], args: []}"),
        # One of many: the patch takes the place of what was there.
        ("{volumes: [{name: a, emptyDir: {}}]}", "{volumes: [{name: a, hostPath: {path: /}}]}",
         "{volumes: [{name: a, hostPath: {path: /}}]}"),
        ("{env: [{name: A, value: x}]}", "{env: [{name: A, valueFrom: {secretKeyRef: {key: b}}}]}",
         "{env: [{name: A, valueFrom: {secretKeyRef: {key: b}}}]}"),
        ("{startupProbe: {httpGet: {path: /}, periodSeconds: 5}}",
         "{startupProbe: {exec: {a: [b]}}}",
         "{startupProbe: {exec: {a: [b]}, periodSeconds: 5}}"),
        ("{startupProbe: {httpGet: {path: /, port: h}}}", "{startupProbe: {httpGet: {path: /x}}}",
         "{startupProbe: {httpGet: {path: /x, port: h}}}"),
        # Taken away, or replaced instead of merged.
        ("{a: {b: 1}, c: 2}", "{a: {$patch: delete}}", "{c: 2}"),
        ("{a: 1, c: 2}", "{a: null}", "{c: 2}"),
        ("{containers: [{name: a}, {name: b}]}", "{containers: [{name: a, $patch: delete}]}",
         "{containers: [{name: b}]}"),
        ("{containers: [{name: b}]}", "{containers: [{name: a, $patch: delete}]}",
         "{containers: [{name: b}]}"),
        ("{a: {b: 1}}", "{a: {$patch: replace, c: 2}}", "{a: {c: 2}}"),
        ("{env: [{name: A}]}", "{env: [{$patch: replace}, {name: B}]}", "{env: [{name: B}]}"),
        # Nothing to merge with: directives are no part of what is applied.
        ("{}",
         "{containers: [{name: a, env: [{name: B, $patch: delete}], s: {$patch: replace, x: 1}}]}",
         "{containers: [{name: a, env: [], s: {x: 1}}]}"),
        # What has another form than it should is for the API server to refuse.
        ("{containers: [{name: a}]}", "{containers: x}", "{containers: x}"),
        ("{a: [1]}", "{a: {b: 1}}", "{a: {b: 1}}"),
        ("{env: [{name: A}]}", "{env: [x, {value: y}, {value: z}]}",
         "{env: [{name: A}, x, {value: y}, {value: z}]}"),
    ],
)  # fmt: skip
def test_it_is_merged_as_kubernetes_merges(base: str, patch: str, merged: str) -> None:
    assert merge(text(base), text(patch)) == text(merged)
