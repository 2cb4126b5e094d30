"""The simulated vLLM answers as the real one does, so that what is tested with it holds."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vllm.alone.conftest import LENGTH
from vllm.answers import Body, ask, lacking, shape
from vllm.serving import ModelServer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
LONG = [{"role": "user", "content": "words and words " * LENGTH}]


def chat(**fields: Any) -> dict[str, Any]:
    """A short question."""
    return {"model": "tiny", "messages": MESSAGES, "max_tokens": 4} | fields


BAD: dict[str, tuple[str, str, Body]] = {
    "unknown model": ("POST", CHAT, chat(model="nobody")),
    "unknown model, streamed": ("POST", CHAT, chat(model="nobody", stream=True)),
    "unknown model for text": ("POST", TEXT, {"model": "nobody", "prompt": "hi"}),
    "prompt too long": ("POST", CHAT, chat(messages=LONG)),
    "prompt too long, streamed": ("POST", CHAT, chat(messages=LONG, stream=True)),
    "answer too long": ("POST", CHAT, chat(max_tokens=LENGTH + 1)),
    "no tokens wanted": ("POST", CHAT, chat(max_tokens=0)),
    "no messages": ("POST", CHAT, {"model": "tiny"}),
    "messages are text": ("POST", CHAT, chat(messages="hi")),
    "not JSON": ("POST", CHAT, b"{not json"),
    "no such path": ("GET", "/v1/nothing", None),
    "wrong method": ("GET", CHAT, None),
    "adapter that is nowhere": (
        "POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/nowhere"},
    ),
    "adapter without a path": ("POST", "/v1/load_lora_adapter", {"lora_name": "x"}),
    "adapter with an empty name": (
        "POST", "/v1/load_lora_adapter", {"lora_name": "", "lora_path": "/x"},
    ),
    "adapter named as the model": (
        "POST", "/v1/load_lora_adapter", {"lora_name": "tiny", "lora_path": "/x"},
    ),
    "unloading what is not loaded": ("POST", "/v1/unload_lora_adapter", {"lora_name": "x"}),
    "unloading nothing": ("POST", "/v1/unload_lora_adapter", {}),
}  # fmt: skip
# The simulator has no files, so that it cannot tell which of them are missing.
ONLY_REAL = {"adapter that is nowhere"}


@pytest.mark.parametrize("name", BAD.keys() - ONLY_REAL)
def test_a_bad_request_is_told_so_alike(
    vllm: ModelServer, simulator: ModelServer, name: str
) -> None:
    real, simulated = ask(vllm, *BAD[name]), ask(simulator, *BAD[name])
    assert (simulated.status, simulated.content_type, simulated.error) == (
        real.status, real.content_type, real.error,
    ), (real.text, simulated.text)  # fmt: skip


def test_an_adapter_that_is_nowhere_is_not_found(vllm: ModelServer) -> None:
    answer = ask(vllm, *BAD["adapter that is nowhere"])
    assert answer.status == 404
    assert answer.error == {"type": "NotFoundError", "param": None, "code": 404}


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/load", "/v1/models"])
def test_what_is_read_looks_alike(
    vllm: ModelServer, simulator: ModelServer, path: str
) -> None:  # fmt: skip
    real, simulated = ask(vllm, "GET", path), ask(simulator, "GET", path)
    assert (real.status, real.content_type) == (simulated.status, simulated.content_type)
    if real.text:
        assert not lacking(shape(simulated.json), shape(real.json))


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, chat()), (TEXT, {"model": "tiny", "prompt": "hi", "max_tokens": 4})],
    ids=["chat", "text"],
)
def test_answers_have_the_same_fields(
    vllm: ModelServer, simulator: ModelServer, path: str, body: dict[str, Any]
) -> None:
    body = body | {"ignore_eos": True}
    real, simulated = (ask(server, "POST", path, body).json for server in (vllm, simulator))
    for answer in (real, simulated):
        # Text in one, null in the other, by what a server is told and not by what it is.
        answer.pop("system_fingerprint", None)
        assert answer["usage"]["completion_tokens"] == 4
        assert answer["choices"][0]["finish_reason"] == "length"
    assert not lacking(shape(simulated), shape(real))


def test_streams_have_the_same_course(vllm: ModelServer, simulator: ModelServer) -> None:
    body = chat(stream=True, stream_options={"include_usage": True}, ignore_eos=True)
    courses = []
    for server in (vllm, simulator):
        answer = ask(server, "POST", CHAT, body)
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        first, *_, last, done = answer.events
        assert '"role":"assistant"' in first
        assert re.search(r'"choices":\[\],"usage":\{', last)
        assert done == "[DONE]"
        courses.append([e for e in answer.events if '"finish_reason":"length"' in e])
    real, simulated = courses
    assert len(real) == len(simulated) == 1


def test_metrics_have_the_same_names_and_labels(vllm: ModelServer, simulator: ModelServer) -> None:
    ask(vllm, "POST", CHAT, chat())
    ask(simulator, "POST", CHAT, chat())
    real, simulated = (_series(ask(server, "GET", "/metrics").text) for server in (vllm, simulator))
    shown = {name: labels for name, labels in simulated.items() if name.startswith("vllm:")}
    assert {"vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"} <= shown.keys()
    assert {name: labels for name, labels in shown.items() if real.get(name) != labels} == {}


def _series(text: str) -> dict[str, frozenset[str]]:
    found = {}
    for line in text.splitlines():
        if match := re.match(r"([a-z_:]+)\{(.*)\} ", line):
            found[match[1]] = frozenset(re.findall(r'(\w+)="', match[2]))
    return found
