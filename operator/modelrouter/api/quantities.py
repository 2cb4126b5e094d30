"""Quantities as manifests write them: durations, decimal strings and addresses."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from modelrouter.api.admission import Cel, Matching

_UNIT_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_DURATION_RULE = "write a duration such as 250ms, 30s, 10m or 1h30m"
_POSITIVE_RULE = "a duration here must be longer than 0"
_DURATION_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_DECIMAL = r"^[0-9]{1,9}([.][0-9]{1,9})?$"
_DECIMAL_RULE = 'write a decimal number of 0 or more as a string, such as "0.15"'
_SHARE = r"^(0([.][0-9]{1,9})?|1([.]0{1,9})?)$"
_SHARE_RULE = 'write a share between "0" and "1"'
_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_DNS_NAME = rf"{_LABEL}([.]{_LABEL})*[.]?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = rf"({_DNS_NAME}|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])"
_ADDRESS = rf"^{_HOST}:{_PORT}$"
_BASE_URL = rf"^https?://{_HOST}(:{_PORT})?(/[!-~]*)?$"
_HTTP_URL = rf"^https?://{_HOST}(:{_PORT})?(/[!\"$-~]*)?$"
_HTTP_URL_RULE = "write a URL such as http://checks.ci:8080/canary, without user and fragment"
_BASE_URL_RULE = "write a URL such as https://api.openai.com/v1"
_URL_PARTS_RULE = "a base URL has no query, fragment or user; keys belong in a Secret"
_ADDRESS_RULE = "write host:port, such as 10.0.0.7:8000 or [fd00::7]:8000"


def _duration(text: object) -> str:
    if not isinstance(text, str) or not re.fullmatch(_DURATION, text):
        raise ValueError(_DURATION_RULE)
    return text


def milliseconds(duration: str) -> int:
    """The length of a duration in whole milliseconds: `1h30m` is 5,400,000."""
    return sum(
        int(number) * _UNIT_MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(duration)
    )


def _positive(text: str) -> str:
    if milliseconds(text) == 0:
        raise ValueError(_POSITIVE_RULE)
    return text


def _decimal(value: object) -> str:
    # Unquoted numbers in YAML are binary floats by the time they arrive, and a price must not
    # depend on their rounding. Kubernetes discourages floats in APIs for the same reason.
    if not isinstance(value, str):
        raise ValueError('write the number as a string in quotes, such as "0.15"')
    if not re.fullmatch(_DECIMAL, value):
        raise ValueError(_DECIMAL_RULE)
    return value


def _share(text: str) -> str:
    if Decimal(text) > 1:
        raise ValueError(_SHARE_RULE)
    return text


def split_address(address: str) -> tuple[str, int]:
    """`host:port` in its parts; an IPv6 address stands in brackets, as in URLs."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not re.fullmatch(_PORT, port):
        raise ValueError(_ADDRESS_RULE)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_plain_ipv6(host):
            raise ValueError(f"{host!r} is no IPv6 address; write one as in [fd00::7]:8000")
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, such as [fd00::7]:8000")
    if not is_ip_address(host) and not re.fullmatch(_DNS_NAME, host):
        raise ValueError(f"{host!r} is neither an IP address nor a host name")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The `host:port` of these parts, as `split_address` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_plain_ipv6(host: str) -> bool:
    """Whether this is an IPv6 address without a zone, and not an IPv4 address in disguise."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return address.ipv4_mapped is None and address.scope_id is None


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


def _http_url(text: str) -> str:
    if not re.fullmatch(_HTTP_URL, text):
        raise ValueError(_HTTP_URL_RULE)
    return text


def _base_url(text: str) -> str:
    if any(mark in text for mark in "?#@"):
        raise ValueError(_URL_PARTS_RULE)
    if not re.fullmatch(_BASE_URL, text):
        raise ValueError(_BASE_URL_RULE)
    return text.rstrip("/")


PositiveDuration = Annotated[
    str,
    BeforeValidator(_duration),
    AfterValidator(_positive),
    Matching(_DURATION, _DURATION_RULE, 28),
    Cel("!self.matches('^[0hms]+$')", _POSITIVE_RULE),
]
"""A Go-style duration longer than zero: `250ms`, `30s`, `10m`, `1h30m`."""


def duration_between(least: str, most: str) -> tuple[AfterValidator, Cel]:
    """`Annotated` metadata of a `PositiveDuration`: it is this short at least and so long at most,
    both ends included."""
    rule = f"a duration here lies between {least} and {most}"

    def check(text: str) -> str:
        if not milliseconds(least) <= milliseconds(text) <= milliseconds(most):
            raise ValueError(rule)
        return text

    bounds = f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    return AfterValidator(check), Cel(bounds, rule)


DecimalText = Annotated[str, BeforeValidator(_decimal), Matching(_DECIMAL, _DECIMAL_RULE, 19)]
"""A non-negative decimal number, written as a string so that no float rounding changes it."""

Share = Annotated[
    str, BeforeValidator(_decimal), AfterValidator(_share), Matching(_SHARE, _SHARE_RULE, 11)
]
"""A decimal number from 0 to 1, written as a string."""

Address = Annotated[
    str,
    Field(max_length=260),
    AfterValidator(_address),
    Matching(_ADDRESS, _ADDRESS_RULE, 260),
    Cel(
        "!self.startsWith('[') || isIP(self.split(']')[0].replace('[', ''))",
        "between the brackets stands an IPv6 address, as in [fd00::7]:8000",
    ),
]
"""A fixed address, `host:port`."""

BaseUrl = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_base_url),
    Matching(_BASE_URL, _BASE_URL_RULE, 1024),
    Cel("!self.matches('[?#@]')", _URL_PARTS_RULE),
]
"""The URL that paths are appended to, without a slash at its end."""

HttpUrl = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_http_url),
    Matching(_HTTP_URL, _HTTP_URL_RULE, 1024),
]
"""A URL that is asked as it is written."""
