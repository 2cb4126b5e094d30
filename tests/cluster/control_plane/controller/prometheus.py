"""A Prometheus that knows the series that a test gives it, and what the operator asks of them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qs

from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.measurement import Measurement
from modelrouter.plan.canary.promql import BOUNDS, DURATION, FIGURES, FIRST_TOKEN, REQUESTS

_SUM = re.compile(r"sum by \(([\w, ]+)\) \(increase\((\w+)\{([^}]*)\}\[(\d+)s\]\)\)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Labels = dict[str, str]


class Prometheus:
    """Answers `sum by (…) (increase(…))`, and by heart what a test has told it."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        """The number that a query gives."""
        self.queries: list[str] = []
        self._series: dict[tuple[str, str], list[tuple[str, Labels, float]]] = {}
        prometheus = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                query = parse_qs(self.rfile.read(length).decode())["query"][0]
                body = json.dumps(prometheus._answer(query)).encode()
                self.send_response(200 if b'"success"' in body else 400)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def measure(self, labels: Mapping[str, str], arm: str, measured: Measurement) -> None:
        """From now on every window of a canary has these figures of an arm."""
        of = {**labels, "arm": arm}
        failed = dict(measured.failures)
        outcomes = {"success": measured.requests - sum(failed.values()), **failed}
        found = [(f"{REQUESTS}_total", {**of, "outcome": k}, float(n)) for k, n in outcomes.items()]
        for name, buckets in ((DURATION, measured.latency), (FIRST_TOKEN, measured.first_token)):
            bounds = [*BOUNDS, float("inf")]
            counts = [0] * len(bounds)
            for bucket, count in buckets.items():
                middle = histogram.GROWTH ** (bucket + 0.5) / 1000
                counts[next(i for i, bound in enumerate(bounds) if middle <= bound)] += count
            for bound, total in zip(bounds, accumulate(counts), strict=True):
                le = str(bound).replace("inf", "+Inf")
                found.append((f"{name}_bucket", {**of, "le": le}, float(total)))
        for figure, moments in (("cost", measured.cost), ("quality", measured.quality)):
            for moment, value in moments.document().items():
                labelled = {**of, "figure": figure, "moment": moment}
                found.append((f"{FIGURES}_total", labelled, float(value)))
        self._series[labels["route"], arm] = found

    def _answer(self, query: str) -> dict[str, Any]:
        self.queries.append(query)
        if query in self.answers:
            return _vector({(): float(self.answers[query])}, [])
        match = _SUM.fullmatch(query)
        if match is None:
            return {"status": "error", "errorType": "bad_data", "error": "unknown query"}
        names, metric, wanted = match[1].split(", "), match[2], dict(_LABEL.findall(match[3]))
        sums: dict[tuple[str, ...], float] = {}
        for series in self._series.values():
            for name, labels, value in series:
                if name == metric and wanted.items() <= labels.items():
                    group = tuple(labels.get(each, "") for each in names)
                    sums[group] = sums.get(group, 0.0) + value
        return _vector(sums, names)


def _vector(sums: Mapping[tuple[str, ...], float], names: list[str]) -> dict[str, Any]:
    result = [
        {"metric": dict(zip(names, group, strict=True)), "value": [0, str(value)]}
        for group, value in sums.items()
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}
