"""Values of options and of environment variables: text in, a checked value out."""

from __future__ import annotations

from argparse import ArgumentTypeError

from modelrouter.standalone.simulator.settings import SimulatorSettings


def tokens(text: str) -> int:
    """A number above 0, also as vLLM's human-readable `32k` (thousands) or `32K` (1,024s)."""
    units = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}
    if text[-1:] in units:
        return _checked(int(float(text[:-1]) * units[text[-1]]), at_least=1)
    return positive(text)


def length(text: str) -> int:
    """A context window; where vLLM would ask its model, the default."""
    default = SimulatorSettings(model="").max_model_len
    return default if text in ("auto", "-1") else tokens(text)


def positive(text: str) -> int:
    """A whole number above 0."""
    return _checked(int(text), at_least=1)


def _checked(value: int, *, at_least: int) -> int:
    if value < at_least:
        raise ArgumentTypeError(f"{value} should be at least {at_least}")
    return value


def port(text: str) -> int:
    """A TCP port; 0 is any free one."""
    value = int(text)
    if not 0 <= value <= 65_535:
        raise ArgumentTypeError(f"{value} is no port; 0 to 65535 are")
    return value


def time(text: str) -> float:
    """A duration in the unit that the option names; 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"{text} should be 0 or more")
    return value


def share(text: str) -> float:
    """From 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} should be from 0 to 1")
    return value


def status(text: str) -> int:
    """An HTTP status of an error."""
    value = int(text)
    if not 400 <= value <= 599:
        raise ArgumentTypeError(f"{value} should be an HTTP status from 400 to 599")
    return value
