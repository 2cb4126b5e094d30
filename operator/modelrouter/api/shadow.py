"""`shadowOf`: a route that decides another route's requests too, and serves none itself."""

from __future__ import annotations

from collections.abc import Sequence

from modelrouter.api.admission import Cel
from modelrouter.api.strictness import invalid

_MODELS_RULE = "name at least one model; only a route with shadowOf needs none"

SHADOW_RULES = (
    Cel("has(self.shadowOf) || (has(self.models) && size(self.models) > 0)", _MODELS_RULE),
)
"""What the API server checks of a ModelRoute's spec."""


def check_models(models: Sequence[str], shadow_of: str | None) -> None:
    """Raise an error about `models` where a route that serves requests names none."""
    if not models and shadow_of is None:
        raise invalid("models", _MODELS_RULE)
