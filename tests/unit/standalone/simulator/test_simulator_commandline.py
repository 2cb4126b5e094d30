"""The simulator's options and vLLM's."""

from __future__ import annotations

import shlex

import pytest

from modelrouter.standalone.simulator.commandline import parse
from modelrouter.standalone.simulator.environment import KNOBS
from modelrouter.standalone.simulator.settings import SimulatorSettings


def test_defaults() -> None:
    assert parse(["--model", "m"], {}) == SimulatorSettings(model="m")


@pytest.mark.parametrize(
    "argv",
    [
        ["--model", "org/m"],
        ["--model=org/m"],
        ["org/m"],
        ["serve", "org/m", "--host", "127.0.0.1"],
        ["serve", "org/m", "--tensor-parallel-size", "2", "--host=127.0.0.1"],
        ["serve", "--model", "org/m", "--host=127.0.0.1"],
    ],
)
def test_the_model_is_named(argv: list[str]) -> None:
    assert parse([*argv, "--port", "9001"], {}) == SimulatorSettings(model="org/m", port=9001)


def test_vllms_command_listens_on_every_address() -> None:
    assert parse(["serve", "m"], {}) == SimulatorSettings(model="m", host="0.0.0.0")


def test_the_arguments_of_a_pod() -> None:
    settings = parse(
        [
            *("serve", "org/m", "--served-model-name=assistant", "--port=8000"),
            *("--shutdown-timeout=120", "--tensor-parallel-size=2", "--enable-lora"),
            *("--max-loras=4", "--load-format=runai_streamer", "--revision=main"),
            *("--max-model-len=auto", "--enable-prompt-tokens-details"),
        ],
        {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HOME": "/cache"},
    )
    assert settings == SimulatorSettings(
        model="org/m",
        host="0.0.0.0",
        port=8000,
        served_model_names=("assistant",),
        shutdown_timeout_s=120,
        lora=True,
        runtime_lora=True,
        prompt_tokens_details=True,
        cache="/cache",
    )


def test_knobs_in_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    settings = parse(
        ["--model", "m", "--tokens", "7"],
        {
            "SIMULATE_NAME": "pod-1",
            "SIMULATE_DOWNLOAD_SECONDS": "3",
            "SIMULATE_LOAD_SECONDS": "2.5",
            "SIMULATE_LOAD_ERROR": "out of memory",
            "SIMULATE_FIRST_TOKEN_MS": "9",
            "SIMULATE_PER_TOKEN_MS": "1",
            "SIMULATE_PREFILL_MS_PER_1K_TOKENS": "100",
            "SIMULATE_TOKENS": "5",
            "SIMULATE_KV_BLOCKS": "64",
            "SIMULATE_MAX_NUM_SEQS": "4",
            "SIMULATE_SEED": "8",
            "SIMULATE_FAULTS": '{"mode": "engine_death", "fail_rate": 0.5}',
            "SIMULATE_FAIL_RATE": "0.1",
            "SIMULATE_FAIL_STATUS": "",
            "SIMULATE_DEATH_SECONDS": "0",
            "SIMULATE_ADAPTER_LOAD_SECONDS": "1",
            "SIMULATE_MISSING_ADAPTERS": "org/a, /b",
            "SIMULATE_CONTROL": "0",
            "SIMULATE_TYPO": "1",
        },
    )
    assert settings == SimulatorSettings(
        model="m",
        label="pod-1",
        download_s=3,
        load_time_s=2.5,
        load_error="out of memory",
        first_token_ms=9,
        per_token_ms=1,
        prefill_ms_per_1k_tokens=100,
        tokens=7,
        kv_blocks=64,
        max_num_seqs=4,
        seed=8,
        faults={"mode": "engine_death", "fail_rate": 0.5},
        fail_rate=0.1,
        death_s=0,
        adapter_load_s=1,
        missing_adapters=("org/a", "/b"),
        control=False,
    )
    assert "without effect here: SIMULATE_TYPO" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("LOAD_SECONDS", "-1", "0 or more"),
        ("TOKENS", "many", "many"),
        ("FAULTS", "hang", "JSON object"),
        ("FAULTS", '{"mode": "odd"}', "none of ok, hang"),
        ("CONTROL", "maybe", "0 or 1"),
    ],
)
def test_wrong_knobs(name: str, value: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--model", "m"], {f"SIMULATE_{name}": value})
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert f"SIMULATE_{name}: " in printed
    assert text in printed


def test_help_names_every_knob(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    printed = capsys.readouterr().out
    assert all(f"SIMULATE_{knob.name}\n" in printed for knob in KNOBS)


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
        host="0.0.0.0",
        lora=True,
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
    assert settings == SimulatorSettings(model="m", host="0.0.0.0", port=9001, tokens=5)
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
