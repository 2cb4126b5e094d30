"""How access log entries are read."""

from __future__ import annotations

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf import json_format, wrappers_pb2

from modelrouter.router.accesslog.intake import Intake
from modelrouter.router.accesslog.record import FLAGS, METHODS, read_entry

FULL = {
    "common_properties": {
        "upstream_cluster": "pool-b",
        "upstream_remote_address": {"socket_address": {"address": "10.0.0.7", "port_value": 8000}},
        "start_time": "2026-01-02T03:04:05.500Z",
        "duration": "1.250s",
        "time_to_first_upstream_rx_byte": "0.200s",
        "upstream_request_attempt_count": 2,
        "response_flags": {"upstream_connection_failure": True, "no_route_found": True},
        "metadata": {
            "filter_metadata": {
                "mr": {"route": "chat", "pool": "pool-a", "reason": "rule", "rule": "3"}
                | {"stream": True},
                "usage": {"prompt_tokens": 11, "completion_tokens": "22"},
            }
        },
    },
    "request": {
        "request_id": "abc",
        "request_method": "POST",
        "path": "/v1/chat/completions",
        "request_body_bytes": 100,
    },
    "response": {"response_code": 200, "response_body_bytes": 300},
}


def entry(spec):
    return json_format.ParseDict(spec, accesslog_pb2.HTTPAccessLogEntry())


def test_a_full_entry():
    record = read_entry(entry(FULL))
    assert record.request_id == "abc"
    assert (record.route, record.reason, record.rule) == ("chat", "rule", "3")
    assert record.pool == "pool-b", "the pool that answered, not the one that was meant to"
    assert record.attempts == 2
    assert record.upstream_host == "10.0.0.7:8000"
    assert record.status == 200
    assert record.response_flags == "UF,NR"
    assert record.stream is True
    assert record.started_at == pytest.approx(1767323045.5)
    assert record.duration_ms == pytest.approx(1250)
    assert record.first_byte_ms == pytest.approx(200)
    assert (record.prompt_tokens, record.completion_tokens) == (11, 22)
    assert (record.bytes_in, record.bytes_out) == (100, 300)
    assert (record.method, record.path) == ("POST", "/v1/chat/completions")


def test_an_empty_entry():
    record = read_entry(entry({}))
    assert (record.route, record.pool, record.upstream_host, record.method) == ("", "", "", "")
    assert (record.status, record.attempts, record.duration_ms) == (0, 0, 0)
    assert record.stream is None
    assert record.first_byte_ms is None
    assert record.prompt_tokens is None


def test_the_pool_that_was_meant_when_none_was_reached():
    common = {"metadata": {"filter_metadata": {"mr": {"pool": "pool-a"}}}}
    assert read_entry(entry({"common_properties": common})).pool == "pool-a"


def test_custom_tags_stand_in_for_metadata():
    tags = {"mr.route": "chat", "mr.stream": "true", "mr.prompt_tokens": "5", "mr.rule": "-"}
    record = read_entry(entry({"common_properties": {"custom_tags": tags}}))
    assert (record.route, record.stream, record.prompt_tokens) == ("chat", True, 5)
    assert record.rule == ""


def test_filter_state_stands_in_for_metadata():
    message = entry({})
    state = message.common_properties.filter_state_objects["mr.route"]
    state.Pack(wrappers_pb2.StringValue(value="chat"))
    assert read_entry(message).route == "chat"


def test_headers_stand_in_for_tags():
    spec = {
        "request": {"request_headers": {"x-mr-route": "chat", "x-other": "1"}},
        "response": {"response_headers": {"x-mr-completion-tokens": "8"}},
    }
    record = read_entry(entry(spec))
    assert (record.route, record.completion_tokens) == ("chat", 8)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ({"socket_address": {"address": "::1", "port_value": 80}}, "[::1]:80"),
        ({"pipe": {"path": "/run/a.sock"}}, "/run/a.sock"),
    ],
)
def test_upstream_addresses(address, text):
    spec = {"common_properties": {"upstream_remote_address": address}}
    assert read_entry(entry(spec)).upstream_host == text


def test_every_flag_and_method_has_its_name():
    fields = {field.name for field in accesslog_pb2.ResponseFlags.DESCRIPTOR.fields}
    assert fields <= FLAGS.keys()
    field = accesslog_pb2.HTTPRequestProperties.DESCRIPTOR.fields_by_name["request_method"]
    names = [value.name for value in field.enum_type.values]
    assert ["METHOD_UNSPECIFIED", *METHODS[1:]] == names


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
