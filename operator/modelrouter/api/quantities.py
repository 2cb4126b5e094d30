"""Quantities as manifests write them: durations, decimal strings and addresses."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_UNIT_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_DURATION = re.compile(_DURATION_PATTERN)
_DURATION_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_DNS_NAME = re.compile(
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\.?$"
)


def _duration(text: object) -> str:
    if not isinstance(text, str) or not _DURATION.match(text):
        raise ValueError("write a duration such as 250ms, 30s, 10m or 1h30m")
    return text


def milliseconds(duration: str) -> int:
    """The length of a duration in whole milliseconds: `1h30m` is 5,400,000."""
    return sum(
        int(number) * _UNIT_MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(duration)
    )


def _positive(text: str) -> str:
    if milliseconds(text) == 0:
        raise ValueError("a duration here must be longer than 0")
    return text


def _decimal(value: object) -> str:
    # Unquoted numbers in YAML are binary floats by the time they arrive, and a price must not
    # depend on their rounding. Kubernetes discourages floats in APIs for the same reason.
    if not isinstance(value, str):
        raise ValueError('write the number as a string in quotes, such as "0.15"')
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError('write a decimal number as a string, such as "0.15"') from None
    if not number.is_finite() or number < 0:
        raise ValueError("the number must be 0 or more")
    return value


def _share(text: str) -> str:
    if Decimal(text) > 1:
        raise ValueError('write a share between "0" and "1"')
    return text


def split_address(address: str) -> tuple[str, int]:
    """`host:port` in its parts; an IPv6 address stands in brackets, as in URLs."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("write host:port, such as 10.0.0.7:8000 or [fd00::7]:8000")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, such as [fd00::7]:8000")
    if not is_ip_address(host) and not _DNS_NAME.match(host.lower()):
        raise ValueError(f"{host!r} is neither an IP address nor a host name")
    return host, int(port)


def is_ip_address(host: str) -> bool:
    """Whether the host is an IPv4 or IPv6 address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    split_address(text)
    return text


Duration = Annotated[str, BeforeValidator(_duration)]
"""A Go-style duration: `250ms`, `30s`, `10m`, `1h30m`."""

PositiveDuration = Annotated[str, BeforeValidator(_duration), AfterValidator(_positive)]
"""A duration longer than zero."""

DecimalText = Annotated[str, BeforeValidator(_decimal)]
"""A non-negative decimal number, written as a string so that no float rounding changes it."""

Share = Annotated[str, BeforeValidator(_decimal), AfterValidator(_share)]
"""A decimal number from 0 to 1, written as a string."""

Address = Annotated[str, AfterValidator(_address)]
"""A fixed address, `host:port`."""
