"""The Lua that runs in Envoy."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from modelrouter.router.envoy.instant import INSTANT
from modelrouter.router.envoy.settings import EnvoySettings


@cache
def _script(*names: str) -> str:
    folder = files(__package__) / "lua"
    parts = [(folder / f"{name}.lua").read_text(encoding="utf-8") for name in ("ending", *names)]
    return "".join(parts).replace("@INSTANT@", INSTANT)


def decide_script(settings: EnvoySettings, *, held: bool = False) -> str:
    """Runs once per request, on the listener. `held`: on that for requests that have waited."""
    reading = () if held else ("answer", "usage")
    text = _script("json", "share", "mirrored", "decide", *reading)
    text = text.replace("@HELD@", '"1"' if held else "nil")
    return text.replace("@TIMEOUT_MS@", str(settings.decision_timeout_ms))


def mirror_script() -> str:
    """Runs once per copy of a request, on the listener for those."""
    return _script("kinds", "answer", "mirror")


def rewrite_script() -> str:
    """Runs once per attempt, at the pool."""
    return _script("json", "rewrite")


def hold_script() -> str:
    """Runs once per attempt of a request for a stream."""
    return _script("kinds", "hold")


def peek_script() -> str:
    """Runs once per attempt of a request for a stream."""
    return _script("kinds", "answer", "peek")
