"""Asking a Prometheus server what a query gives now.

The protocol: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from yarl import URL

from modelrouter.controller.bounded_bodies import read_bounded

ANSWER_SECONDS = 5.0
"""What takes longer is given up."""
_LONGEST_ERROR = 200


class PrometheusError(Exception):
    """A query has no answer; the message is for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer, at the time of the query."""

    labels: Mapping[str, str]
    value: float
    """May be NaN or infinite."""


class Prometheus:
    """Asks any Prometheus server over one HTTP session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def query(self, address: str, query: str) -> list[Sample]:
        """The series of an instant query; a scalar is one series without labels.

        `address` is the server's base URL. Raises PrometheusError.
        """
        url = f"{address.rstrip('/')}/api/v1/query"
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with self._session.post(
                url, data={"query": query}, timeout=timeout, allow_redirects=False
            ) as response:
                status, body = response.status, await read_bounded(response)
        except TimeoutError:
            raise PrometheusError(
                f"Prometheus at {_shown(address)} did not answer within {ANSWER_SECONDS:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PrometheusError(
                f"Prometheus at {_shown(address)} cannot be asked ({type(error).__name__})"
            ) from None
        return _samples(status, body, address)


def _samples(status: int, body: bytes, address: str) -> list[Sample]:
    strange = PrometheusError(
        f"{_shown(address)} answered {status} and not as Prometheus does; is the address right?"
    )
    try:
        found: Any = orjson.loads(body)
        if found["status"] == "error":
            text = " ".join(str(found["error"]).split())[:_LONGEST_ERROR]
            raise PrometheusError(f"Prometheus refuses the query: {text}")
        if status != 200:
            raise strange
        data = found["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        if data["resultType"] != "vector":
            raise PrometheusError(
                f"the query gives a {str(data['resultType'])[:20]}; an instant vector or a "
                "scalar is needed"
            )
        return [
            Sample({str(k): str(v) for k, v in each["metric"].items()}, float(each["value"][1]))
            for each in data["result"]
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise strange from None


def _shown(address: str) -> str:
    """The address without what nobody else should read."""
    try:
        url = URL(address)
        return str(url.with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "spec.canary.analysis.prometheus.address"
