"""LoRA adapters: loaded at run time, named in answers, refused as vLLM refuses."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from component.simulator.questions import HELLO

MAY_LOAD = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def load(server: Any, name: str, path: str, **more: object) -> httpx.Response:
    body = {"lora_name": name, "lora_path": path, **more}
    return httpx.post(f"{server.url}/v1/load_lora_adapter", json=body)


def unload(server: Any, name: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/unload_lora_adapter", json={"lora_name": name})


def error(answer: httpx.Response) -> tuple[int, str, str]:
    found = answer.json()["error"]
    assert found["code"] == answer.status_code
    return answer.status_code, found["type"], found["message"]


def test_lora_adapters_come_and_go(start):
    server = start(
        "--enable-lora", "--lora-modules", "a=/a", VLLM_ALLOW_RUNTIME_LORA_UPDATING="True"
    )
    client = server.client()
    assert client.chat.completions.create(model="a", messages=HELLO).model == "a"
    assert load(server, "b", "/b").text == "Success: LoRA adapter 'b' added successfully."
    assert [model.id for model in client.models.list()] == ["m", "a", "b"]
    assert load(server, "b", "/b").status_code == 400
    unload(server, "b").raise_for_status()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="b", messages=HELLO)


def test_the_life_of_an_adapter(start):
    server = start("--enable-lora", "--served-model-name=base", **MAY_LOAD)
    client = server.client()
    loaded = load(server, "support-de", "acme/support-de")
    assert loaded.text == "Success: LoRA adapter 'support-de' added successfully."
    assert "content-type" not in loaded.headers
    base, adapter = client.models.list().data
    assert (base.id, base.parent) == ("base", None)  # type: ignore[attr-defined]
    assert adapter.id == "support-de"
    assert adapter.parent == "base"  # type: ignore[attr-defined]
    assert adapter.root == "acme/support-de"  # type: ignore[attr-defined]
    for stream in (False, True):
        answer: Any = client.chat.completions.create(
            model="support-de", messages=HELLO, stream=stream
        )
        assert {chunk.model for chunk in (answer if stream else [answer])} == {"support-de"}
    # The metrics stay the base model's.
    assert server.metric("vllm:request_success_total", model_name="base") == 2
    assert unload(server, "support-de").text == (
        "Success: LoRA adapter 'support-de' removed successfully."
    )
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="support-de", messages=HELLO)
    assert caught.value.type == "NotFoundError"


def test_refusals(start):
    server = start("--enable-lora", SIMULATE_MISSING_ADAPTERS="acme/gone", **MAY_LOAD)
    load(server, "a", "/a").raise_for_status()
    status, kind, message = error(load(server, "a", "/other"))
    assert (status, kind) == (400, "InvalidUserInput")
    assert "already been loaded" in message
    load(server, "a", "/other", load_inplace=True).raise_for_status()
    assert server.client().models.list().data[1].root == "/other"  # type: ignore[attr-defined]
    assert error(load(server, "b", "acme/gone")) == (
        404,
        "NotFoundError",
        "Loading lora b failed: No adapter found for acme/gone",
    )
    assert error(load(server, "", "/b"))[:2] == (400, "InvalidUserInput")
    assert error(load(server, "m", "/b")) == (
        400,
        "InvalidUserInput",
        "The lora adapter 'm' conflicts with a served base model.",
    )
    assert error(unload(server, "b"))[:2] == (404, "NotFoundError")
    assert error(unload(server, ""))[:2] == (400, "InvalidUserInput")
    assert [model.id for model in server.client().models.list()] == ["m", "a"]


@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        ("load", {"lora_name": "x"}, ["lora_path"]),
        ("load", {}, ["lora_name", "lora_path"]),
        ("unload", {}, ["lora_name"]),
        ("unload", {"lora_name": None}, ["lora_name"]),
    ],
)
def test_requests_that_lack_a_field(start, path, body, missing):
    server = start("--enable-lora", **MAY_LOAD)
    answer = httpx.post(f"{server.url}/v1/{path}_lora_adapter", json=body)
    found = answer.json()["error"]
    assert (answer.status_code, found["type"]) == (400, "Bad Request")
    assert found["param"] == f"body.{missing[0]}"
    head, *faults = found["message"].splitlines()
    assert head == f"{len(missing)} validation error{'s' if len(missing) > 1 else ''}:"
    assert all(f"'body.{name}'" in fault for name, fault in zip(missing, faults, strict=True))


def test_adapters_and_their_base_say_different_things(start):
    server = start("--enable-lora", "--lora-modules", "a=/a", "b=/b")
    client = server.client()
    plain = start().client()

    def answers(client: openai.OpenAI, model: str) -> tuple[object, ...]:
        chat = client.chat.completions.create(model=model, messages=HELLO)
        text = client.completions.create(model=model, prompt="hello")
        vector = client.embeddings.create(model=model, input="hello", dimensions=2)
        return (
            chat.choices[0].message.content,
            text.choices[0].text,
            tuple(vector.data[0].embedding),
        )

    said = [answers(client, model) for model in ("m", "a", "b")]
    for each in zip(*said, strict=True):
        assert len(set(each)) == 3
    assert [answers(client, model) for model in ("m", "a", "b")] == said
    # Adapters beside it change nothing for the base model.
    assert answers(plain, "m") == said[0]


def test_without_the_permission_there_is_no_such_path(start):
    server = start("--enable-lora")
    assert load(server, "a", "/a").status_code == 404
    assert unload(server, "a").status_code == 404


def test_an_engine_without_adapters(start):
    server = start(**MAY_LOAD)
    status, kind, message = error(load(server, "a", "/a"))
    assert (status, kind) == (500, "InternalServerError")
    assert "--enable-lora" in message


def test_adapters_share_no_cache_with_each_other(start):
    server = start("--enable-lora", "--enable-prompt-tokens-details", "--first-token=0",
                   "--per-token=0", "--lora-modules", "a=/a", "b=/b")  # fmt: skip
    client = server.client()

    def cached(model: str, **more: Any) -> int:
        messages: Any = [{"role": "system", "content": "rule. " * 200}]
        answer = client.chat.completions.create(model=model, messages=messages, **more)
        return answer.usage.prompt_tokens_details.cached_tokens

    assert [cached(model) for model in ("a", "b", "m")] == [0, 0, 0]
    assert all(cached(model) > 250 for model in ("a", "b", "m"))
    assert cached("m", extra_body={"cache_salt": "tenant"}) == 0
