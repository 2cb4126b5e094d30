"""LoRA adapters on a running server, as the operator loads and unloads them."""

from __future__ import annotations

import pytest

from vllm.answers import ask
from vllm.environment import RealVllm
from vllm.serving import ModelServer

CHAT, LOAD, UNLOAD = "/v1/chat/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


@pytest.fixture(params=["vllm", "simulator"])
def server(request: pytest.FixtureRequest) -> ModelServer:
    """The real one and the simulated one."""
    found: ModelServer = request.getfixturevalue(request.param)
    return found


def said(server: ModelServer, model: str) -> str:
    """What a model answers, always the same."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
    }
    answer = ask(server, "POST", CHAT, body)
    assert answer.status == 200, answer.text
    assert answer.json["model"] == model
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def test_an_adapter_comes_and_goes_while_the_server_runs(
    server: ModelServer, real: RealVllm
) -> None:
    adapter = {"lora_name": "adapter-a", "lora_path": str(real.model / "adapter-a")}
    before = said(server, "tiny")
    loaded = ask(server, "POST", LOAD, adapter)
    assert loaded.status == 200, loaded.text
    assert loaded.text == "Success: LoRA adapter 'adapter-a' added successfully."
    assert said(server, "adapter-a") != before
    assert said(server, "tiny") == before
    again = ask(server, "POST", LOAD, adapter)
    assert (again.status, again.error) == (
        400, {"type": "InvalidUserInput", "param": None, "code": 400},
    )  # fmt: skip
    models = ask(server, "GET", "/v1/models").json["data"]
    listed = {model["id"]: (model["root"], model["parent"]) for model in models}
    assert listed["adapter-a"] == (adapter["lora_path"], "tiny")
    unloaded = ask(server, "POST", UNLOAD, {"lora_name": "adapter-a"})
    assert (unloaded.status, unloaded.text) == (
        200, "Success: LoRA adapter 'adapter-a' removed successfully.",
    )  # fmt: skip
    gone = ask(server, "POST", CHAT, {"model": "adapter-a", "messages": []})
    assert gone.error == {"type": "NotFoundError", "param": "model", "code": 404}


def test_an_adapter_that_does_not_fit_is_refused_and_harms_nothing(
    vllm: ModelServer, real: RealVllm
) -> None:
    """Its file has no weights."""
    before = said(vllm, "tiny")
    answer = ask(vllm, "POST", LOAD, {"lora_name": "x", "lora_path": str(real.broken_adapter)})
    assert (answer.status, answer.error) == (
        500, {"type": "InternalServerError", "param": None, "code": 500},
    )  # fmt: skip
    assert said(vllm, "tiny") == before
