"""Given these manifests, a person is told this, at this line."""

from pathlib import Path

import pytest

from modelrouter.api.manifests import Manifests, load_manifests, read_manifests

POOL = """\
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: a}}
spec:
  model: m
  {0}
"""
ROUTE = """\
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {{name: r}}
spec:
  models: [m]
  pools: [a, b]
  {0}
"""
LOCAL = 'endpoints: ["10.0.0.7:8000"]'


def read(text: str) -> Manifests:
    manifests = Manifests()
    read_manifests(text, "m.yaml", manifests)
    return manifests


def said(text: str) -> str:
    return "\n".join(map(str, read(text).problems))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("contextWindw: 5", 'm.yaml:7: ModelPool default/a: spec.contextWindw: unknown field '
         '"contextWindw"; did you mean "contextWindow"?'),
        ("ContextWindow: 5", 'did you mean "contextWindow"?'),
        ("contextWindow: 0", "spec.contextWindow: Input should be greater than or equal to 1"),
        ("contextWindow: many", "spec.contextWindow: Input should be a valid integer"),
        ("features: [vision]", "spec.features[0]: Input should be 'tools', 'jsonSchema' or"),
        ("price: {input: 0.15, output: '1'}", "spec.price.input: write the number as a string"),
        ("price: {input: '-1', output: '1'}", "spec.price.input: write a decimal number of 0"),
        ("price: {input: cheap, output: '1'}", "spec.price.input: write a decimal number"),
        ("price: {input: '1'}", "spec.price.output: this field is required"),
        ("quality: {default: '1.5'}", 'spec.quality.default: write a share between "0" and "1"'),
        ("parameters: {drop: [model]}", "spec.parameters: model is set by the router"),
        ("parameters: {drop: [a], rename: {a: b}}", "a is both dropped and renamed"),
        ("healthCheck: {path: health}", "spec.healthCheck.path: String should match pattern"),
        ("healthCheck: {interval: 5}", "spec.healthCheck.interval: write a duration such as"),
        ("healthCheck: {interval: 0s}", "spec.healthCheck.interval: a duration here must be"),
        ("healthCheck: {intervall: 5s}", 'did you mean "interval"?'),
        ("outlierDetection: {maxEjectionPercent: 101}", "less than or equal to 100"),
        ("loadBalancing: Random", "spec.loadBalancing: Input should be 'LeastRequest'"),
        ("maxConcurrentRequests: 0", "spec.maxConcurrentRequests: Input should be greater"),
        ("provider: {kind: OpenAI}", "spec: exactly one of vllm, service, provider and endpoints "
         "is needed; found provider and endpoints"),
        ("service: {name: s, port: 80}", "found service and endpoints"),
        ("dataClasses: [Top Secret]", "spec.dataClasses[0]: a name has at most 63 lower-case"),
    ],
)  # fmt: skip
def test_a_pool_that_is_wrong_says_where_and_what_would_be_right(line: str, message: str) -> None:
    assert message in said(POOL.format(f"{LOCAL}\n  {line}"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zone: eu", "exactly one of vllm, service, provider and endpoints is needed; found none"),
        ("service: {name: S, port: 80}", "spec.service.name: a name has at most 63 lower-case"),
        ("service: {name: s}", "spec.service.port: this field is required"),
        ("service: {name: s, port: 0}", "spec.service.port: write the Service's port as a number"),
        ("service: {name: s, port: 70000}", "spec.service.port: write the Service's port"),
        ("service: {name: s, port: true}", "spec.service.port: write the Service's port"),
        ("service: {name: s, port: '8080'}", "spec.service.port: write the Service's port"),
        ("service: {name: s, port: Web}", "spec.service.port: write the Service's port"),
        ("endpoints: []", "spec.endpoints: List should have at least 1 item"),
        ("endpoints: [10.0.0.7]", "spec.endpoints[0]: write host:port, such as 10.0.0.7:8000"),
        ("endpoints: ['10.0.0.7:99999']", "spec.endpoints[0]: write host:port"),
        ("endpoints: ['fd00::7:80']", "write an IPv6 address in brackets"),
        ("endpoints: ['under_score!:80']", "is neither an IP address nor a host name"),
        ("provider: {kind: Bedrock}", "spec.provider.kind: Input should be 'OpenAI' or"),
        ("provider: {kind: OpenAICompatible}", "spec.provider.baseUrl: kind OpenAICompatible"),
        ("provider: {kind: OpenAI, baseUrl: 'api.openai.com'}", "write a URL such as https://"),
        ("provider: {kind: OpenAI, baseUrl: 'https://u:p@h/v1'}", "keys belong in a Secret"),
        ("provider: {kind: OpenAI, baseUrl: 'http://h:port/v1'}", "write a URL such as https://"),
        (
            "provider: {kind: OpenAI, credentials: {secretRef: {name: k}}}",
            "spec.provider.credentials.secretRef.key: this field is required",
        ),
    ],
)
def test_a_pool_without_a_right_source_says_so(line: str, message: str) -> None:
    assert message in said(POOL.format(line))


@pytest.mark.parametrize("port", [1, 65535, "http", "a", "http-2", "2-http", "a" * 15])
def test_a_service_is_named_with_a_port_by_number_or_name(port: int | str) -> None:
    pool = read(POOL.format(f"service: {{name: tgi, port: {port}}}")).pools["default", "a"]
    assert pool.spec.source == "service"
    assert pool.spec.service is not None
    assert pool.spec.service.port == port


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rulez: []", 'm.yaml:7: ModelRoute default/r: spec.rulez: unknown field "rulez"; '
         'did you mean "rules"?'),
        ("failover: [c]", "spec.failover: c is not in pools; add it there to allow it"),
        ("failover: None", "spec.failover: write [None] to stay in the chosen pool, or a list"),
        ("failover:", "spec.failover: write [None] to stay in the chosen pool, or a list"),
        ("failover: []", "spec.failover: write [None] to stay in the chosen pool, or a list"),
        ("failover: [null]", "spec.failover: write [None] to stay in the chosen pool, or a list"),
        ("failover: [None, a]", "spec.failover: None stands alone: write [None], or a list"),
        ("failover: [none]", "spec.failover: none is not in pools; add it there to allow it"),
        ("retry: {attempts: 9}", "spec.retry.attempts: Input should be less than or equal to 5"),
        ("retry: {on: [5xx]}", 'unknown field "on"; did you mean "triggers"?'),
        ("retry: {triggers: [sometimes]}", "spec.retry.triggers[0]: String should match"),
        ("timeout: {request: forever}", "spec.timeout.request: write a duration such as"),
        ("sticky: {by: Cookie}", "spec.sticky.by: Input should be 'Session' or 'Prefix'"),
        ("rules: [{targets: [{pool: a}]}]", "spec.rules[0].name: this field is required"),
        ("rules: [{name: x, targets: []}]", "spec.rules[0].targets: List should have at least 1"),
        ("rules: [{name: x, targets: [{pool: c}]}]", "spec.rules[0].targets[0].pool: c is not in"),
        ("rules: [{name: x, targets: [{pool: a, weight: 0}]}]", "at least one weight must be"),
        ("rules: [{name: x, targets: [{pool: a, weight: -1}]}]", "spec.rules[0].targets[0].weight"),
        ("rules: [{name: x, targets: [{pool: a}, {pool: a}]}]", "pool a is listed twice"),
        ("rules: [{name: x, tragets: [{pool: a}]}]", 'did you mean "targets"?'),
        ("rules: [{name: x, targets: [{pool: a}]}, {name: x, targets: [{pool: a}]}]",
         "spec.rules: x is listed twice"),
        ("rules: [{name: x, match: {headers: [{name: h}]}, targets: [{pool: a}]}]",
         "exactly one of exact, prefix and regex is needed"),
        ("rules: [{name: x, match: {headers: [{name: h, regex: '('}]}, targets: [{pool: a}]}]",
         "spec.rules[0].match.headers[0].regex: '(' is not a regular expression"),
        ("rules: [{name: x, match: {headers: [{name: X-MR-a, exact: b}]}, targets: [{pool: a}]}]",
         "x-mr-a is removed from requests and can never match"),
        ("rules: [{name: x, match: {promptTokens: {}}, targets: [{pool: a}]}]",
         "spec.rules[0].match.promptTokens: give min, max or both"),
        ("rules: [{name: x, match: {promptTokens: {min: 5, max: 4}}, targets: [{pool: a}]}]",
         "min 5 is larger than max 4"),
        ("rules: [{name: x, match: {models: [other]}, targets: [{pool: a}]}]",
         "spec.rules[0].match.models: other is not in models, so the rule could never match"),
        ("rules: [{name: x, failover: [c], targets: [{pool: a}]}]", "spec.rules[0].failover: c is"),
    ],
)  # fmt: skip
def test_a_route_that_is_wrong_says_where_and_what_would_be_right(line: str, message: str) -> None:
    assert message in said(ROUTE.format(line))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "m.yaml:2: not valid YAML"),
        ("- a\n- b", "a manifest is a mapping with apiVersion, kind and metadata"),
        ("kind: ModelRoute\nmetadata: {name: a}", "write apiVersion: modelrouter.dev/v1alpha1"),
        ("apiVersion: modelrouter.dev/v1alpha1\nkind: ModelRouter", "unknown kind 'ModelRouter'"),
        (POOL.format(LOCAL + "\n  model: n"), "m.yaml:7: not valid YAML: the key 'model' is given"),
        (POOL.format(LOCAL) + "---\n" + POOL.format(LOCAL),
         "m.yaml:10: ModelPool default/a: metadata.name: there is one of this name already in "
         "m.yaml:1"),
        (POOL.format(LOCAL).replace("name: a", "name: A_b"), "metadata.name: a name has at most"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_used_says_why(text: str, message: str) -> None:
    assert message in said(text)


def test_a_lone_y_or_n_is_a_boolean_as_kubectl_has_it() -> None:
    assert "spec.models[0]: Input should be a valid string" in said(
        ROUTE.format("router: default").replace("models: [m]", "models: [n]")
    )


def test_one_broken_document_costs_only_itself() -> None:
    manifests = read(POOL.format("nonsense: 1") + "---\n" + POOL.format(LOCAL).replace("a}", "b}"))
    assert list(manifests.pools) == [("default", "b")]
    assert len(manifests.problems) == 1


def test_all_problems_of_a_document_are_reported_at_once() -> None:
    problems = read(ROUTE.format("retry: {attempts: 9}\n  timeout: {request: x}\n  rulez: 1"))
    assert {problem.line for problem in problems.problems} == {7, 8, 9}


def test_other_kinds_are_left_alone_and_lists_are_read() -> None:
    manifests = read(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: s}}\n"
        "- {apiVersion: modelrouter.dev/v1alpha1, kind: ModelPool, metadata: {name: p},"
        " spec: {model: m, endpoints: ['h:1']}}\n"
    )
    assert manifests.problems == []
    assert manifests.ignored == ["m.yaml:4: Service s"]
    assert list(manifests.pools) == [("default", "p")]


@pytest.mark.parametrize(
    "document",
    [
        "data: {k: not base64 SENTINEL}",
        "data: [SENTINEL]",
        "stringData: {k: [SENTINEL]}",
        "stringData: {k: SENTINEL\n",
        'stringData: {k: "SENTINEL',
    ],
)
def test_a_broken_secret_never_shows_its_value(document: str) -> None:
    manifests = read("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + document)
    assert manifests.problems
    assert "SENTINEL" not in "".join(map(str, manifests.problems))


def test_secret_values_come_from_both_fields_and_stay_out_of_repr() -> None:
    manifests = read(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
        "data: {a: c2stMQ==, b: eA==}\nstringData: {b: sk-2}\n"
    )
    secret = manifests.secrets["default", "s"]
    assert secret.values == {"a": b"sk-1", "b": b"sk-2"}
    assert "sk-" not in repr(secret)


def test_directories_are_read_like_kubectl_does(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(POOL.format(LOCAL))
    (tmp_path / "notes.txt").write_text("kind: nothing")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.yaml").write_text("broken: [")
    assert list(load_manifests([tmp_path]).pools) == [("default", "a")]
    problems = load_manifests([tmp_path / "absent", tmp_path / "deeper" / ".."]).problems
    assert [problem.message for problem in problems] == ["there is no such file or directory"]
