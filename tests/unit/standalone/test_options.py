"""Options that a person gives."""

from __future__ import annotations

import pytest

from modelrouter.standalone.options import (
    OptionError,
    default_concurrency,
    secrets_from_environment,
)


def test_secret_values_come_from_the_environment():
    values = secrets_from_environment(
        ["openai/api-key=KEY", "openai/org=ORG", "azure/api-key=KEY"], {"KEY": "k", "ORG": "o"}
    )
    assert values == {"openai": {"api-key": "k", "org": "o"}, "azure": {"api-key": "k"}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("openai=KEY", "write NAME/KEY=VARIABLE"),
        ("openai/api-key", "write NAME/KEY=VARIABLE"),
        ("openai/api-key=not a name", "write NAME/KEY=VARIABLE"),
        ("openai/api-key=MISSING", "MISSING is not set"),
        ("openai/api-key=EMPTY", "EMPTY is empty"),
    ],
)
def test_a_secret_value_that_cannot_be_had_is_an_error(assignment: str, message: str):
    with pytest.raises(OptionError, match=message) as caught:
        secrets_from_environment([assignment], {"KEY": "sk-secret", "EMPTY": ""})
    assert "sk-secret" not in str(caught.value)


def test_concurrency_is_modest():
    assert 1 <= default_concurrency() <= 4
