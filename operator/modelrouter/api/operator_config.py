"""`OperatorConfig`: what the operator is told at its start, in a file that the chart writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Self

import yaml
from pydantic import ValidationError, model_validator

from modelrouter.api.problems import field_path, validation_problems
from modelrouter.api.quantities import BaseUrl, PositiveDuration, milliseconds
from modelrouter.api.router_settings import LogLevel, RouterSettings
from modelrouter.api.strictness import StrictModel, invalid


class SecretAccess(StrEnum):
    """Which Secrets the operator may read, as its Role allows."""

    ALL = "All"
    NAMED = "Named"


class LeaderElection(StrictModel):
    """The Lease by which one of several operators leads."""

    namespace: str = "default"
    """Where the Lease is: the operator's own namespace."""
    name: str = "model-router-operator"
    """Name of the Lease."""
    lease_duration: PositiveDuration = "15s"
    """How long a leader that does not renew is still taken for one."""
    renew_deadline: PositiveDuration = "10s"
    """A leader that could not renew for as long stops writing."""
    retry_period: PositiveDuration = "2s"
    """Time between two tries to renew or to become leader."""

    @model_validator(mode="after")
    def _stops_before_another_starts(self) -> Self:
        if milliseconds(self.renew_deadline) >= milliseconds(self.lease_duration):
            raise invalid(
                "renewDeadline",
                f"{self.renew_deadline} must be shorter than leaseDuration {self.lease_duration}, "
                "or two operators could write at once",
            )
        if milliseconds(self.retry_period) >= milliseconds(self.renew_deadline):
            raise invalid(
                "retryPeriod",
                f"{self.retry_period} must be shorter than renewDeadline {self.renew_deadline}",
            )
        return self


class Keda(StrictModel):
    """KEDA is installed, and may be told to scale pools."""

    url: BaseUrl
    """Where KEDA reaches the operator's HTTP port, to ask for the load of pools."""


class OperatorConfig(StrictModel):
    """Everything the operator is told."""

    namespaces: list[str] = []
    """Namespaces whose routes and pools are served. Empty: all."""
    secret_access: SecretAccess = SecretAccess.ALL
    """`All`: pools may name any Secret. `Named`: only those in `secretNames`."""
    secret_names: list[str] = []
    """With `Named`: Secrets that the operator and the routers may read, in each namespace."""
    leader_election: LeaderElection = LeaderElection()
    """How one of several operators becomes the leader."""
    routers: RouterSettings = RouterSettings()
    """What routers look like."""
    keda: Keda | None = None
    """Set if pools may have `engine: KEDA`. The operator may then write ScaledObjects."""
    log_level: LogLevel = "info"
    """How much the operator logs."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object or one line of text for each event."""

    def may_read(self, secret: str) -> bool:
        """Whether the operator, and with it a router, may read a Secret of this name."""
        return self.secret_access is SecretAccess.ALL or secret in self.secret_names


class InvalidOperatorConfigError(ValueError):
    """The configuration cannot be used; the message has a line for each thing that is wrong."""


def read_operator_config(text: str, place: str) -> OperatorConfig:
    """The configuration in a YAML text; `place` is what errors call it, such as its path."""
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be parsed"
        raise InvalidOperatorConfigError(f"{place}{line}: not valid YAML: {reason}") from None
    if data is not None and not isinstance(data, dict):
        raise InvalidOperatorConfigError(f"{place}: a mapping is needed, such as logLevel: info")
    try:
        return OperatorConfig.model_validate(data or {})
    except ValidationError as error:
        problems = validation_problems(error, OperatorConfig)
        lines = [f"{place}: {field_path(where)}: {message}" for where, message in problems]
        raise InvalidOperatorConfigError("\n".join(lines)) from None
