"""Hard constraints: which pools may serve a request at all, and what to say when none may."""

from __future__ import annotations

from collections.abc import Iterable

from modelrouter.policy.compiling import UNLIMITED, CompiledPool, CompiledRule
from modelrouter.policy.decision import Obstacle, Rejection
from modelrouter.policy.refusal import Refusal
from modelrouter.policy.request import PROMPT_PARAM, RequestFacts


def suits_every_pool(request: RequestFacts, rule: CompiledRule) -> bool:
    """Whether no pool of the rule can be ruled out; `False`: perhaps some are."""
    return (
        not request.data_classes
        and request.prompt_tokens + request.completion_tokens <= rule.smallest_window
        and (rule.common_features is None or request.features <= rule.common_features)
    )


def find_obstacle(request: RequestFacts, pool: CompiledPool) -> Rejection | None:
    """Why the pool may not serve the request, the gravest reason first; `None`: it may.

    A labelled request goes only where all of its classes are allowed. An unlabelled one may go
    anywhere.
    """
    if not request.data_classes <= pool.data_classes:
        lacking = ", ".join(sorted(request.data_classes - pool.data_classes))
        return Rejection(pool.name, Obstacle.DATA_CLASS, f"not allowed: {lacking}")
    if pool.features is not None and not request.features <= pool.features:
        lacking = ", ".join(sorted(request.features - pool.features))
        return Rejection(pool.name, Obstacle.FEATURES, f"lacks {lacking}")
    needed = request.prompt_tokens + request.completion_tokens
    if needed > pool.window:
        return Rejection(pool.name, Obstacle.WINDOW, f"needs {needed} tokens, has {pool.window}")
    return None


def refuse(request: RequestFacts, pools: Iterable[CompiledPool]) -> Refusal:
    """What to answer when none of the pools may serve the request.

    Of several reasons the one that would still be there if the others were mended: first the data
    class, then, among the pools that allow it, the features, then, among those that have them, the
    window. A mixture of pools never reads as if more were possible than is.
    """
    permitted = [pool for pool in pools if request.data_classes <= pool.data_classes]
    if not permitted:
        return _data_class_forbidden(request)
    able = [
        pool for pool in permitted if pool.features is None or request.features <= pool.features
    ]
    if not able:
        return _unsupported_feature(request, permitted)
    return _context_length_exceeded(request, max(pool.window for pool in able))


def _data_class_forbidden(request: RequestFacts) -> Refusal:
    classes = ", ".join(sorted(request.data_classes))
    return Refusal(
        403,
        f"No model that this route may use is allowed to see data of class {classes[:200]}.",
        code="data_class_forbidden",
    )


_FEATURE_PARAM = {"tools": "tools", "jsonSchema": "response_format", "images": "messages"}


def _unsupported_feature(request: RequestFacts, pools: list[CompiledPool]) -> Refusal:
    missing_everywhere = [
        feature
        for feature in sorted(request.features)
        if all(pool.features is not None and feature not in pool.features for pool in pools)
    ]
    if missing_everywhere:
        names = " or ".join(missing_everywhere)
        message = f"No model that may serve this request supports {names}."
    else:
        missing_everywhere = sorted(request.features)
        names = " and ".join(missing_everywhere)
        message = f"No model that may serve this request supports {names} together."
    return Refusal(
        400,
        message,
        param=_FEATURE_PARAM.get(missing_everywhere[0]),
        code="unsupported_feature",
    )


def _context_length_exceeded(request: RequestFacts, largest: int) -> Refusal:
    assert largest < UNLIMITED
    param = PROMPT_PARAM[request.endpoint]
    asked = (
        f" and {request.completion_tokens} more for the completion"
        if request.completion_tokens
        else ""
    )
    return Refusal(
        400,
        f"The maximum context length is {largest} tokens. However, your {param} "
        f"resulted in about {request.prompt_tokens} tokens{asked}. Please reduce the length.",
        param=param,
        code="context_length_exceeded",
    )
