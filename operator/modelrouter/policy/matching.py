"""Matching requests against the conditions of rules.

Each condition becomes one function, so that a decision runs only the conditions that are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from modelrouter.api.router_config import Conditions, HeaderCondition
from modelrouter.policy.request import RequestFacts

Check = Callable[[RequestFacts], bool]
"""Whether a request fulfils one condition."""


def compile_checks(conditions: Conditions) -> tuple[Check, ...]:
    """The conditions as functions, those that cost least first; all must hold."""
    checks: list[Check] = []
    if conditions.data_classes:
        checks.append(_any_data_class(frozenset(map(str.lower, conditions.data_classes))))
    if conditions.segment_data_classes:
        checks.append(_any_data_class(frozenset(map(str.lower, conditions.segment_data_classes))))
    if conditions.features:
        checks.append(_all_features(frozenset(feature.value for feature in conditions.features)))
    if conditions.models:
        checks.append(_any_model(frozenset(conditions.models)))
    if conditions.min_prompt_tokens is not None:
        checks.append(_at_least(conditions.min_prompt_tokens))
    if conditions.max_prompt_tokens is not None:
        checks.append(_at_most(conditions.max_prompt_tokens))
    checks.extend(map(_header, conditions.headers))
    return tuple(checks)


def _any_data_class(classes: frozenset[str]) -> Check:
    return lambda request: not classes.isdisjoint(request.data_classes)


def _all_features(features: frozenset[str]) -> Check:
    return lambda request: features <= request.features


def _any_model(models: frozenset[str]) -> Check:
    return lambda request: request.model in models


def _at_least(tokens: int) -> Check:
    return lambda request: request.prompt_tokens >= tokens


def _at_most(tokens: int) -> Check:
    return lambda request: request.prompt_tokens <= tokens


def _header(condition: HeaderCondition) -> Check:
    """A condition on a header. One that is absent fulfils none, not even an empty prefix."""
    name = condition.name.lower()
    if condition.exact is not None:
        return _header_is(name, condition.exact)
    if condition.prefix is not None:
        return _header_begins(name, condition.prefix)
    if condition.regex is not None:
        return _header_fits(name, condition.regex)
    raise ValueError(f"header {name}: exactly one of exact, prefix and regex is needed")


def _header_is(name: str, value: str) -> Check:
    return lambda request: request.headers.get(name) == value


def _header_begins(name: str, prefix: str) -> Check:
    def begins(request: RequestFacts) -> bool:
        value = request.headers.get(name)
        return value is not None and value.startswith(prefix)

    return begins


def _header_fits(name: str, regex: str) -> Check:
    try:
        fullmatch = re.compile(regex).fullmatch
    except re.error as error:
        raise ValueError(f"header {name}: regex {regex!r} does not compile: {error}") from None

    def fits(request: RequestFacts) -> bool:
        value = request.headers.get(name)
        return value is not None and fullmatch(value) is not None

    return fits
