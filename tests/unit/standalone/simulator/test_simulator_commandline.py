"""The simulator's options and vLLM's."""

from __future__ import annotations

import shlex

import pytest

from modelrouter.standalone.simulator.commandline import parse
from modelrouter.standalone.simulator.settings import SimulatorSettings


def test_defaults() -> None:
    assert parse(["--model", "m"], {}) == SimulatorSettings(model="m")


@pytest.mark.parametrize(
    "argv",
    [
        ["--model", "org/m"],
        ["--model=org/m"],
        ["serve", "org/m"],
        ["org/m"],
        ["serve", "org/m", "--tensor-parallel-size", "2"],
        ["serve", "--model", "org/m"],
    ],
)
def test_the_model_is_named(argv: list[str]) -> None:
    assert parse([*argv, "--port", "9001"], {}) == SimulatorSettings(model="org/m", port=9001)


def test_own_options() -> None:
    settings = parse(
        shlex.split(
            "--model m --port 1 --host 0.0.0.0 --first-token 1.5 --per-token 2 --tokens 3 "
            "--fail-rate 0.5 --fail-status 503 --seed 4 --load-time 5 --shutdown-timeout 6 "
            "--max-model-len 7 --name x --prefill-per-1k-tokens 8 --embedding-dimensions 9 "
            "--no-control"
        ),
        {},
    )
    assert settings == SimulatorSettings(
        model="m",
        port=1,
        host="0.0.0.0",
        first_token_ms=1.5,
        per_token_ms=2,
        tokens=3,
        fail_rate=0.5,
        fail_status=503,
        seed=4,
        load_time_s=5,
        shutdown_timeout_s=6,
        max_model_len=7,
        label="x",
        prefill_ms_per_1k_tokens=8,
        embedding_dimensions=9,
        control=False,
    )


def test_vllms_options() -> None:
    settings = parse(
        shlex.split(
            "serve m --served-model-name a b --max-num-seqs=4 --block_size=32 "
            "--num-gpu-blocks-override 100 --no-enable-prefix-caching --enable-lora "
            "--lora-modules x=/x y=/y --enable-request-id-headers --max-model-len 1K"
        ),
        {
            "VLLM_API_KEY": "k",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "30",
        },
    )
    assert settings == SimulatorSettings(
        model="m",
        served_model_names=("a", "b"),
        max_num_seqs=4,
        block_size=32,
        kv_blocks=100,
        prefix_caching=False,
        lora_modules=(("x", "/x"), ("y", "/y")),
        runtime_lora=True,
        request_id_headers=True,
        max_model_len=1024,
        api_keys=("k",),
        keep_alive_s=30,
    )


def test_unknown_options_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    settings = parse(
        [
            *("serve", "m", "--gpu-memory-utilization", "0.9", "--dtype=auto", "-tp", "4"),
            *("--enforce-eager", "--tool-call-parser", "hermes", "--port", "9001"),
            *("--hf-overrides", '{"a": 1}', "--disable-log-requests", "--tokens", "5"),
        ],
        {},
    )
    assert settings == SimulatorSettings(model="m", port=9001, tokens=5)
    notice = capsys.readouterr().err
    for flag in ("--gpu-memory-utilization 0.9", "--dtype=auto", "-tp 4", "--enforce-eager"):
        assert flag in notice


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "name the model"),
        (["--model", "m", "--port", "70000"], "no port"),
        (["--model", "m", "--fail-rate", "2"], "from 0 to 1"),
        (["--model", "m", "--fail-status", "200"], "400 to 599"),
        (["--model", "m", "--first-token", "-1"], "0 or more"),
        (["--model", "m", "--tokens", "0"], "at least 1"),
        (["--model", "m", "--lora-modules", "x"], "NAME=PATH"),
    ],
)
def test_wrong_options(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv, {})
    assert caught.value.code == 2
    assert text in capsys.readouterr().err
