"""The operator's configuration file: what it means, and what a person is told who gets it wrong."""

import pytest

from modelrouter.api.operator_config import (
    InvalidOperatorConfigError,
    OperatorConfig,
    SecretAccess,
    read_operator_config,
)
from modelrouter.api.router_settings import RouterSettings


def read(text: str) -> OperatorConfig:
    return read_operator_config(text, "operator.yaml")


def said(text: str) -> str:
    with pytest.raises(InvalidOperatorConfigError) as caught:
        read(text)
    return str(caught.value)


def test_an_empty_file_means_the_defaults() -> None:
    config = read("")
    assert config == OperatorConfig()
    assert config.namespaces == []
    assert config.secret_access is SecretAccess.ALL
    assert config.routers.replicas == 2


def test_the_file_is_written_in_camel_case() -> None:
    config = read(
        """
namespaces: [ai, team-b]
secretAccess: Named
secretNames: [openai]
leaderElection: {namespace: model-router, leaseDuration: 30s, renewDeadline: 20s}
routers:
  replicas: 3
  agentResources: {limits: {memory: 1Gi, cpu: 2}}
  envoyConcurrency: null
  tolerations: [{key: gpu, operator: Exists}]
logFormat: text
"""
    )
    assert config.namespaces == ["ai", "team-b"]
    assert config.leader_election.lease_duration == "30s"
    assert config.routers.agent_resources.limits == {"memory": "1Gi", "cpu": "2"}
    assert config.routers.tolerations == [{"key": "gpu", "operator": "Exists"}]
    assert config.log_format == "text"


def test_only_named_secrets_may_be_read_where_access_is_by_name() -> None:
    named = read("secretAccess: Named\nsecretNames: [openai]")
    assert named.may_read("openai")
    assert not named.may_read("other")
    assert read("secretNames: [openai]").may_read("other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replicas: 2", 'operator.yaml: replicas: unknown field "replicas"'),
        ("routers: {replica: 2}", 'routers.replica: unknown field "replica"; did you mean "repli'),
        ("routers: {replicas: 0}", "routers.replicas: Input should be greater than or equal to 1"),
        ("routers: {agentResources: {limits: {cpu: lots}}}",
         "routers.agentResources.limits.cpu: write a quantity such as 500m, 2 or 256Mi"),
        ("routers: {terminationGracePeriodSeconds: 5}", "greater than or equal to 15"),
        ("leaderElection: {leaseDuration: 15}", "leaderElection.leaseDuration: write a duration"),
        ("leaderElection: {renewDeadline: 15s}",
         "leaderElection.renewDeadline: 15s must be shorter than leaseDuration 15s"),
        ("leaderElection: {retryPeriod: 10s}",
         "leaderElection.retryPeriod: 10s must be shorter than renewDeadline 10s"),
        ("secretAccess: all", "secretAccess: Input should be 'All' or 'Named'"),
        ("logLevel: loud", "logLevel: Input should be 'debug'"),
        ("- a", "operator.yaml: a mapping is needed"),
        ("a: [", "operator.yaml:1: not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    assert message in said(text)


def test_all_mistakes_are_named_at_once() -> None:
    assert len(said("logLevel: loud\nrouters: {replicas: 0}").splitlines()) == 2


@pytest.mark.parametrize(
    ("limit", "threads"),
    [(None, 2), ("500m", 1), ("1", 1), ("1500m", 2), ("1.5", 2), ("4", 4), ("1k", 2)],
)
def test_envoy_gets_a_thread_for_each_cpu_of_its_limit(limit: str | None, threads: int) -> None:
    limits = {"cpu": limit} if limit else {}
    settings = RouterSettings.model_validate({"envoyResources": {"limits": limits}})
    assert settings.threads == threads
    assert settings.model_copy(update={"envoy_concurrency": 7}).threads == 7
