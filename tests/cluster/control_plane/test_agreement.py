"""The models and the API server agree on what is right, whatever a manifest says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster.kubernetes.access import Kubernetes
from modelrouter.api.pool import ModelPool
from modelrouter.api.route import ModelRoute
from refusals import API_VERSION, RIGHT, manifest

MODELS = {"ModelPool": ModelPool, "ModelRoute": ModelRoute}


@pytest.fixture(scope="session")
def api(kubernetes: Kubernetes, crds: None) -> Iterator[httpx.Client]:
    """Requests to the API server as its administrator."""
    command = ["kubectl", "proxy", "--port=0"]
    with subprocess.Popen(
        command, env=kubernetes.environment, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout is not None
        address = proxy.stdout.readline().split()[-1]
        with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
            yield client
        proxy.terminate()


def refusal(api: httpx.Client, document: dict[str, Any]) -> str:
    """Why the API server refuses a manifest; empty if it does not."""
    path = f"/apis/{API_VERSION}/namespaces/default/{document['kind'].lower()}s"
    answer = api.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=document)
    assert answer.status_code in (201, 400, 422), answer.text
    return "" if answer.status_code == 201 else str(answer.json()["message"])


def complaint(document: dict[str, Any]) -> str:
    """Why the models refuse it; empty if they do not."""
    try:
        MODELS[document["kind"]].model_validate(document)
    except ValidationError as error:
        return str(error)
    return ""


def either(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


NAMES = either("a", "b", "c", "a.b", "-a", "a-", "A", "", "a\n", "a" * 63, "a" * 64, "9", 7)
GOOD_NAMES = either("a", "b", "b", "c", "a.b", "a/b", "a/B_c.d")
POOL_NAMES = either("a/", "/a", "a/b/c", "a/-b", "A/b", "a/" + "b" * 63, "a/" + "b" * 64, "a/b\n")
DURATIONS = either(
    "5s", "250ms", "1h30m", "0s", "0h0m", "5", "5 s", "1d", "", 5, "99999h", "100000s"
)
NUMBERS = either("0", "1", "0.5", "1.0", "1.01", "-1", ".5", "5.", "1e3", "", " 1", "٣", 0.5, 1)
INTEGERS = either(-1, 0, 1, 2, 5, 6, 100, 101, 1000, 1001, 1_000_000, 1_000_001, 10**10, 10**20)
WHOLE = either(0, 1, 1, 2, 90, 100)
TEXTS = either("", "x", "x y", "a,b", "h" * 300, "ä", "meta-llama/Llama-3.1-8B", True)
HEADERS = either("x-team", "X-Team", "x-mr-pool", "X-Envoy-Retry", "x team", "", "x" * 257, "x_y")
TARGETS = st.lists(
    st.fixed_dictionaries({"pool": GOOD_NAMES}, optional={"weight": WHOLE | INTEGERS}), max_size=3
)
FAILOVER = either("None", [], ["None"], ["None", "a"], ["a", "b"], ["a", "a"], ["c"], [""], {})
FEATURES = st.lists(either("tools", "images", "jsonSchema", "Tools", ""), max_size=3)
CLASSES = st.lists(NAMES, max_size=3)
CONDITION = some(dict.fromkeys(("exact", "prefix"), TEXTS) | {"name": HEADERS})
MATCH = some(
    {
        "headers": st.lists(CONDITION, max_size=2),
        "models": st.lists(either("m", "large", "other", "a b"), max_size=2),
        "promptTokens": some({"min": INTEGERS, "max": INTEGERS, "mean": WHOLE}),
        "features": FEATURES,
        "dataClasses": CLASSES,
    }
)
RULE = some(
    {"name": NAMES | either("a", "b"), "match": MATCH, "targets": TARGETS, "failover": FAILOVER}
)
ROUTE = some(
    {
        "router": NAMES | either("a" * 50, "a" * 51),
        "models": st.lists(either("m", "m", "large") | TEXTS, max_size=3),
        "pools": st.lists(GOOD_NAMES | NAMES | POOL_NAMES, max_size=4),
        "rules": st.lists(RULE, max_size=3),
        "failover": FAILOVER,
        "retry": some(
            {
                "attempts": INTEGERS,
                "triggers": st.lists(either("5xx", "429", "600", "reset", "4290", ""), max_size=2),
                "perTryTimeout": DURATIONS,
                "on": st.just([]),
            }
        ),
        "timeout": some({"request": DURATIONS, "idle": DURATIONS}),
        "sticky": some({"by": either("Session", "Prefix", "Cookie", 1), "header": HEADERS}),
    }
)
QUERIES = either("up", "up{p='{{pool}}'}", "{{ pool }}", "{{pod}}", "{{{pool}}", "")
BOUNDS = ("min", "max", "minRatioToStable", "maxRatioToStable")
BOUND = either(*[{bound: "0.5"} for bound in BOUNDS], {}, {"min": "1.5"}, {"max": "99"})
FIGURE = either(
    {"metric": "successRate"}, {"metric": "p95Latency"}, {"metric": "quality"}, {"metric": "x"},
    {"name": "a", "query": "up"}, {"name": "b", "query": "up{{pool}}"}, {"query": "up"},
    {"name": "a"},
    {"metric": "p50Latency", "name": "a"}, {"metric": "errorRate", "name": "a", "query": "up"},
)  # fmt: skip
CHECK = st.builds(lambda figure, bound: figure | bound, FIGURE, BOUND) | st.builds(
    lambda query: {"name": "a", "query": query, "maxRatioToStable": "1"}, QUERIES
)
LIMIT = st.builds(
    lambda metric, bound, rest: metric | bound | rest,
    either({"metric": "errorRate"}, {"metric": "p95Latency"}, {}),
    either({"max": "0.2"}, {"min": "0.9"}, {"max": "20"}, {}, {"max": "1", "min": "0"}),
    some({"window": either("30s", "2m", "121s", "999ms", "1s"), "minRequests": INTEGERS}),
)
HOOK = st.builds(
    lambda name, url, rest: {"name": name, "url": url, "at": "BeforeStep"} | rest,
    either("a", "b", "c", "A"),
    either("http://h/x?y=1", "https://h:80/", "http://h/#x", "http://u:p@h", "h", "http://h/@"),
    some({"at": either("OnTransition", "Never"), "timeout": either("60s", "61s", "1ms", "0s")}),
)
WEIGHTS = either([5], [5, 25, 50], [0, 100], [5, 5], [25, 5], [5, 101], [-1], [])
SMALL_MATCH = some(
    {
        "models": either(["m"], ["large"], ["other"], []),
        "promptTokens": either(
            {"min": 10}, {"max": 9}, {"min": 9, "max": 10}, {"min": 3, "max": 2}
        ),
        "dataClasses": either(["a"], []),
    }
)
SPLIT_RULE = st.builds(
    lambda name, match, targets: {"name": name, "match": match, "targets": targets},
    either("x", "y", "pools"),
    SMALL_MATCH,
    either([{"pool": "a"}], [{"pool": "b"}], [{"pool": "a", "weight": 0}, {"pool": "b"}]),
)
CANARY = st.builds(
    lambda parts, weights, pauses, rest: parts
    | {"steps": [{"weight": w, "pause": pauses} if pauses else {"weight": w} for w in weights]}
    | rest,
    either(*[{"from": "a", "to": "b"}] * 6, {"from": "b", "to": "a"}, {"from": "a", "to": "a"},
           {"from": "a", "to": "c"}, {"from": "a"}),
    either(*[[5, 25, 50]] * 6) | WEIGHTS,
    either("", "10m", "10m", "1s", "999ms"),
    some(
        {
            "rule": either("x", "x", "x", "y", "pools"),
            "match": SMALL_MATCH,
            "paused": either(True, False, "yes"),
            "analysis": some(
                {
                    "interval": either("30s", "1h", "61m", "1s"),
                    "window": either("1h", "1s", "90m"),
                    "minRequests": WHOLE,
                    "checks": st.lists(CHECK, max_size=2),
                    "failuresBeforeRollback": WHOLE,
                    "hardLimits": st.lists(LIMIT, max_size=2),
                    "prometheus": either({"address": "http://p:9090"}, {"address": "http://p?x"}),
                }
            ),
            "hooks": st.lists(HOOK, max_size=2),
        }
    ),
)  # fmt: skip
ADDRESSES = either(
    "10.0.0.7:8000", "10.0.0.7", "h:0", "h:1", "h:65535", "h:65536", "h:080", "H.example.:80", "",
    "[fd00::7]:80", "[fd00]:80", "[10.0.0.7]:80", "[::ffff:10.0.0.7]:80", "[fe80::1%eth0]:80",
    "fd00::7:80", "-h:80", "h_h:80", "h..h:80", "999.0.0.1:80", "http://h:80", "h:80\n", 80,
)  # fmt: skip
URLS = either(
    "https://api.openai.com/v1", "http://h:80", "https://", "ftp://h", "h", "", "https://u:p@h/v1",
    "https://h?x", "https://h#x", "https://h:99999/v1", "https://h:port", "https://[fd00::7]/v1",
)  # fmt: skip
PORTS = either(80, 0, 65536, -1, "http", "HTTP", "80", "h-2", "h--2", "-h", "h-", "a" * 16, "", 8.5)
SECRET = some({"name": NAMES, "key": either("api-key", "a/b", "", "k" * 254)})
PARAMETERS = either("seed", "top_p", "model", "", "p" * 129)
POOL = some(
    {
        "model": TEXTS | either("x" * 512, "x" * 513),
        "endpoints": st.lists(ADDRESSES, max_size=2),
        "service": some({"name": NAMES, "port": PORTS}),
        "provider": some(
            {
                "kind": either("OpenAI", "OpenAICompatible", "Other"),
                "baseUrl": URLS,
                "credentials": some({"secretRef": SECRET}),
            }
        ),
        "contextWindow": INTEGERS,
        "features": FEATURES,
        "zone": TEXTS,
        "dataClasses": CLASSES,
        "price": some({"input": NUMBERS, "output": NUMBERS}),
        "quality": some({"default": NUMBERS}),
        "parameters": some(
            {
                "drop": st.lists(PARAMETERS, max_size=2),
                "rename": st.dictionaries(PARAMETERS, PARAMETERS, max_size=2),
            }
        ),
        "healthCheck": some(
            {"path": either("/", "health", "/a b", "/ä", ""), "interval": DURATIONS,
             "unhealthyThreshold": INTEGERS}
        ),
        "outlierDetection": some({"consecutiveErrors": INTEGERS, "maxEjectionPercent": INTEGERS}),
        "loadBalancing": either("RoundRobin", "Random", ""),
        "maxConcurrentRequests": INTEGERS,
    }
)  # fmt: skip

SOURCES = either(
    "hf://org/name", "hf://org/name@v1/x", "hf://org/name@", "hf://name", "hf://org/name/x", "hf://",
    "hf://-o/n", "hf://o/n\n", "pvc://claim", "pvc://claim/", "pvc://claim/a/b", "pvc://claim//a",
    "pvc://claim/../b", "pvc://claim/.b", "pvc://Claim", "s3://bucket/a", "s3://b", "s3://bucket",
    "s3://bucket/a b", "gs://bucket", "org/name", "", "pvc://claim/" + "a" * 1100, 7,
)  # fmt: skip
AMOUNTS = either(
    0, 1, 8, -1, 10**15, 10**20, 0.5, "1", "500m", "100Gi", "0", "1.5", "1e3", "16 GB", "Gi", "-1",
    "", "1Gi\n", "1" * 16, True,
)  # fmt: skip
ADAPTERS = either("a", "m", "B_c.d", "a/b", "-a", "a-", "", "b" * 63, "b" * 64, "a\n", "org/m")
ARGS = either(
    "--max-model-len=32768", "--port", "--port=1", "--port=1\n2", "--ports", "-tp", "-tp=2", "-tpx",
    "--served_model-name=x", "--api-key=x", "", "x", "x" * 4097, "--Port", "a --port=1", 1,
)  # fmt: skip
SCALING = some(
    {"minReplicas": WHOLE, "maxReplicas": WHOLE, "target": some({"runningRequests": INTEGERS})}
)
LABELS = either("team", "a/b", "modelrouter.dev/pool", "x.app.kubernetes.io/name", "")
LABEL_VALUES = either("x", "", "x" * 63, "x" * 64, True)
VLLM = some(
    {
        "image": either(
            "vllm", "r.example:5000/vllm/vllm-openai@sha256:0a", "", "a b", "-a", "v\n"
        ),
        "source": SOURCES,
        "replicas": INTEGERS,
        "autoscaling": SCALING,
        "args": st.lists(ARGS, max_size=2),
        "tensorParallelSize": INTEGERS,
        "resources": some(dict.fromkeys(("limits", "requests"), some({"cpu": AMOUNTS}))),
        "huggingFace": some({"tokenSecretRef": SECRET}),
        "s3": some({"region": TEXTS, "endpointUrl": URLS}),
        "loraAdapters": st.lists(
            some({"name": ADAPTERS, "source": either("hf://o/n") | SOURCES}), max_size=2
        ),
        "cache": some({"size": AMOUNTS, "accessMode": either("ReadWriteOnce", "Once")}),
        "startupTimeout": DURATIONS,
        "drainTimeout": DURATIONS,
        "podTemplate": some(
            {
                "metadata": some(
                    {
                        "labels": st.dictionaries(LABELS, LABEL_VALUES, max_size=2),
                        "annotations": st.dictionaries(LABELS, LABEL_VALUES, max_size=2),
                    }
                ),
                "spec": either({}, {"nodeSelector": {"a": "b"}}, {"containers": []}, [], "x"),
            }
        ),
    }
)


@st.composite
def server_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A pool of model servers that is right but for a few fields."""
    changed = draw(VLLM)
    chosen = draw(st.permutations(sorted(changed)))[: draw(st.integers(1, 2))]
    vllm = {"image": "vllm", **{name: changed[name] for name in chosen}}
    return {"model": draw(either("org/m", "org/m", "org/m", "m", "org/")), "vllm": vllm}


@st.composite
def specs(draw: st.DrawFn, kind: str, fields: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A spec that is right but for a few fields, so that one mistake does not hide another."""
    changed = draw(fields)
    keep = draw(st.integers(1, 2))
    chosen = draw(st.permutations(sorted(changed)))[:keep]
    spec = {**RIGHT[kind], **{name: changed[name] for name in chosen}}
    if kind == "ModelPool" and {"service", "provider"} & set(chosen) and draw(st.integers(0, 4)):
        spec.pop("endpoints")
    return spec


def check(api: httpx.Client, kind: str, spec: dict[str, Any]) -> None:
    document = manifest(kind, spec)
    server, models = refusal(api, document), complaint(document)
    written = json.dumps(spec, ensure_ascii=False)
    assert bool(server) == bool(models), f"{written}\nserver: {server}\nmodels: {models}"


agreeing = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@agreeing
@given(spec=specs("ModelRoute", ROUTE))
def test_routes_are_judged_alike(api: httpx.Client, spec: dict[str, Any]) -> None:
    check(api, "ModelRoute", spec)


@agreeing
@given(canary=CANARY, rules=st.lists(SPLIT_RULE, max_size=2, unique_by=lambda rule: rule["name"]))
def test_canaries_are_judged_alike(
    api: httpx.Client, canary: dict[str, Any], rules: list[dict[str, Any]]
) -> None:
    check(api, "ModelRoute", {**RIGHT["ModelRoute"], "rules": rules, "canary": canary})


@agreeing
@given(spec=specs("ModelPool", POOL))
def test_pools_are_judged_alike(api: httpx.Client, spec: dict[str, Any]) -> None:
    check(api, "ModelPool", spec)


@agreeing
@given(spec=server_specs())
def test_model_servers_are_judged_alike(api: httpx.Client, spec: dict[str, Any]) -> None:
    check(api, "ModelPool", spec)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        # The API server has no regular expressions of Python's, and nothing that reads RFC 4291.
        ("ModelRoute", {"rules": [{"name": "x", "targets": [{"pool": "a"}],
                                   "match": {"headers": [{"name": "h", "regex": "("}]}}]}),
        # What lies in podTemplate.spec is not in the schema.
        ("ModelPool", {"endpoints": None, "model": "org/m", "vllm": {
            "image": "vllm", "podTemplate": {"spec": {"containers": [{"image": "x"}]}}}}),
    ],
)  # fmt: skip
def test_what_only_the_models_notice(api: httpx.Client, kind: str, spec: dict[str, Any]) -> None:
    """The operator says these in the resource's status."""
    fields = {**RIGHT[kind], **spec}
    document = manifest(kind, {name: value for name, value in fields.items() if value is not None})
    assert refusal(api, document) == ""
    assert complaint(document) != ""
