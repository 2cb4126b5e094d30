"""The Lua that runs in Envoy."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from modelrouter.router.envoy.instant import INSTANT
from modelrouter.router.envoy.settings import EnvoySettings


@cache
def _source(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def decide_script(settings: EnvoySettings, *, held: bool = False) -> str:
    """Runs once per request, on the listener. `held`: on that for requests that have waited."""
    text = _source("json") + _source("share") + _source("mirrored") + _source("decide")
    if not held:
        text += _source("answer") + _source("usage")
    text = text.replace("@INSTANT@", INSTANT)
    text = text.replace("@HELD@", '"1"' if held else "nil")
    return text.replace("@TIMEOUT_MS@", str(settings.decision_timeout_ms))


@cache
def mirror_script() -> str:
    """Runs once per copy of a request, on the listener for those."""
    return _source("kinds") + _source("answer") + _source("mirror")


@cache
def rewrite_script() -> str:
    """Runs once per attempt, at the pool."""
    return _source("json") + _source("rewrite")


@cache
def hold_script() -> str:
    """Runs once per attempt of a request for a stream."""
    return (_source("kinds") + _source("hold")).replace("@INSTANT@", INSTANT)


@cache
def peek_script() -> str:
    """Runs once per attempt of a request for a stream."""
    return _source("kinds") + _source("answer") + _source("peek")
