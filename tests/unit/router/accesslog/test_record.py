"""How access log entries are read."""

from __future__ import annotations

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf import json_format

from modelrouter.router.accesslog.intake import Intake
from modelrouter.router.accesslog.record import read_entry

FULL = {
    "common_properties": {
        "upstream_cluster": "pool-b",
        "upstream_remote_address": {"socket_address": {"address": "10.0.0.7", "port_value": 8000}},
        "start_time": "2026-01-02T03:04:05.500Z",
        "duration": "1.250s",
        "time_to_first_upstream_rx_byte": "0.200s",
        "upstream_request_attempt_count": 2,
        "metadata": {
            "filter_metadata": {
                "usage": {"prompt_tokens": 11, "completion_tokens": 22},
            }
        },
    },
    "request": {
        "request_id": "abc",
        "request_method": "POST",
        "path": "/v1/chat/completions",
        "request_body_bytes": 100,
    },
    "response": {
        "response_code": 200,
        "response_body_bytes": 300,
        "response_headers": {"x-mr-route": "chat", "x-mr-reason": "rule:default"},
    },
}


def entry(spec):
    return json_format.ParseDict(spec, accesslog_pb2.HTTPAccessLogEntry())


def test_a_full_entry():
    record = read_entry(entry(FULL))
    assert record.request_id == "abc"
    assert (record.route, record.reason) == ("chat", "rule:default")
    assert record.pool == "pool-b"
    assert record.attempts == 2
    assert record.status == 200
    assert record.duration_ms == pytest.approx(1250)
    assert record.first_byte_ms == pytest.approx(200)
    assert (record.prompt_tokens, record.completion_tokens) == (11, 22)


def test_an_empty_entry():
    record = read_entry(entry({}))
    assert (record.route, record.reason, record.pool) == ("", "", "")
    assert (record.status, record.attempts, record.duration_ms) == (0, 0, 0)
    assert record.first_byte_ms is None
    assert record.prompt_tokens is None


def message(*entries):
    logs = als_pb2.StreamAccessLogsMessage()
    logs.http_logs.log_entry.extend(entries)
    return logs


def test_a_consumer_that_fails_does_not_keep_records_from_the_others(caplog):
    records = []

    def fail(record):
        raise RuntimeError("no")

    intake = Intake([fail, records.append])
    intake.take(message(entry(FULL), entry(FULL)))
    assert len(records) == 2
    assert intake.failures == 2
    assert len(caplog.records) == 1, "one complaint stands for many"


def test_a_request_that_still_runs_is_not_a_record():
    records = []
    running = entry({"common_properties": {"intermediate_log_entry": True}})
    Intake([records.append]).take(message(running, entry(FULL)))
    assert len(records) == 1
