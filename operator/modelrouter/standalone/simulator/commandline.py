"""The command line: the simulator's own options and vLLM's, and `serve` in vLLM's place.

vLLM has hundreds of options. Those that matter to a client have their effect; the others are
accepted with a notice, so that a pod's arguments need no change when its image does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelrouter.standalone.simulator import values
from modelrouter.standalone.simulator.environment import describe_environment, read_environment
from modelrouter.standalone.simulator.settings import SimulatorSettings

_TRUE = ("1", "true")
_EVERYWHERE = "0.0.0.0"
"""Where vLLM listens unless told."""


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> SimulatorSettings:
    """The settings that arguments ask for, else the environment: SIMULATE_… and vLLM's variables.

    `serve` in front of the model is vLLM's command: it listens on every address. Prints a notice
    for what has no effect; exits with status 2 on a wrong option or variable.
    """
    environ = os.environ if environ is None else environ
    try:
        fields, unknown = read_environment(environ)
    except ValueError as error:
        print(f"modelrouter simulate: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    default = SimulatorSettings(model="", **fields)
    parser = _parser(default)
    arguments = [_dashed(argument) for argument in argv]
    known, rest = parser.parse_known_args(arguments)
    positional, ignored = _split(rest)
    host = default.host
    if positional[:1] == ["serve"]:
        positional = positional[1:]
        host = _EVERYWHERE
    model = known.model or (positional[0] if positional else None)
    if not model:
        parser.error("name the model: --model NAME or serve NAME")
    if ignored or unknown:
        names = " ".join([*ignored, *unknown])
        print(f"simulated vLLM: without effect here: {names}", file=sys.stderr)
    keys = tuple(known.api_key or ())
    if not keys and environ.get("VLLM_API_KEY"):
        keys = (environ["VLLM_API_KEY"],)
    try:
        keep_alive = float(environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", default.keep_alive_s))
        adapters = tuple(_adapter(text) for text in known.lora_modules or ())
    except ValueError as error:
        parser.error(str(error))
    may_load = environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in _TRUE
    return replace(
        default,
        model=model,
        host=known.host or host,
        port=known.port,
        served_model_names=tuple(known.served_model_name or ()),
        label=known.name,
        first_token_ms=known.first_token,
        per_token_ms=known.per_token,
        prefill_ms_per_1k_tokens=known.prefill_per_1k_tokens,
        tokens=known.tokens,
        embedding_dimensions=known.embedding_dimensions,
        fail_rate=known.fail_rate,
        fail_status=known.fail_status,
        seed=known.seed,
        load_time_s=known.load_time,
        shutdown_timeout_s=known.shutdown_timeout,
        keep_alive_s=keep_alive,
        max_model_len=known.max_model_len,
        max_num_seqs=known.max_num_seqs,
        kv_blocks=known.num_gpu_blocks_override,
        block_size=known.block_size,
        prefix_caching=known.enable_prefix_caching,
        prompt_tokens_details=known.enable_prompt_tokens_details,
        request_id_headers=known.enable_request_id_headers,
        api_keys=keys,
        lora_modules=adapters,
        lora=known.enable_lora,
        runtime_lora=may_load,
        control=known.control,
    )


def main(argv: Sequence[str]) -> int:
    """Run one server until it is told to stop; the exit status is 0 then.

    It is 0, too, after the death of the engine, as vLLM's, and 1 if the model cannot be loaded.
    """
    # As process 1 of a container a signal without a handler is ignored, even while importing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = parse(argv)
    import uvloop

    from modelrouter.standalone.simulator.loading import LoadError
    from modelrouter.standalone.simulator.serving import serve

    try:
        uvloop.run(serve(settings))
    except LoadError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"simulated vLLM: cannot listen on {settings.host}:{settings.port}: {error}",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser(default: SimulatorSettings) -> argparse.ArgumentParser:
    # Abbreviations would take options of vLLM for others that begin alike.
    parser = argparse.ArgumentParser(
        prog="modelrouter simulate",
        description="An OpenAI-compatible server that behaves as vLLM does, without a model.",
        usage="%(prog)s [serve NAME | --model NAME] [options]",
        epilog="""`serve NAME` is vLLM's own command line: it listens on every address. Other vLLM
options are accepted and have no effect.

environment variables, for a pod whose arguments are vLLM's; an option wins over its variable:
"""
        + describe_environment(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("--model", metavar="NAME", help="the model")
    option("--host", metavar="ADDRESS", help=f"address to listen on ({default.host})")
    option("--port", type=values.port, default=default.port, help="port; 0: any free (%(default)s)")
    option(
        "--served-model-name",
        nargs="+",
        metavar="NAME",
        help="names that requests use; the first is in the answers (the model)",
    )
    option("--name", default=default.label, metavar="LABEL", help="name of this server in answers")
    option(
        "--api-key", action="extend", nargs="+", metavar="KEY", help="keys, one of which is needed"
    )
    pace = parser.add_argument_group("pace")
    pace.add_argument(
        "--first-token", type=values.time, default=default.first_token_ms, metavar="MS",
        help="milliseconds to the first token (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--per-token", type=values.time, default=default.per_token_ms, metavar="MS",
        help="milliseconds between tokens (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--prefill-per-1k-tokens", type=values.time, default=default.prefill_ms_per_1k_tokens,
        metavar="MS", help="milliseconds per 1,000 prompt tokens not in the cache (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--tokens", type=values.positive, default=default.tokens, metavar="N",
        help="tokens in an answer (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--load-time", type=values.time, default=default.load_time_s, metavar="S",
        help="seconds before the port opens (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--shutdown-timeout", type=values.time, default=default.shutdown_timeout_s, metavar="S",
        help="seconds for open requests after SIGTERM; 0: they hang (%(default)s)",
    )  # fmt: skip
    size = parser.add_argument_group("size")
    size.add_argument(
        "--max-model-len", type=values.length, default=default.max_model_len, metavar="N",
        help="context window in tokens (%(default)s)",
    )  # fmt: skip
    for flag, value, text in (
        ("--max-num-seqs", default.max_num_seqs, "requests at once; more wait"),
        ("--num-gpu-blocks-override", default.kv_blocks, "blocks in the KV cache"),
        ("--block-size", default.block_size, "tokens in a block"),
        ("--embedding-dimensions", default.embedding_dimensions, "length of embeddings"),
    ):
        size.add_argument(
            flag, type=values.tokens, default=value, metavar="N", help=f"{text} (%(default)s)"
        )
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--fail-rate", type=values.share, default=default.fail_rate, metavar="P",
        help="share of requests that fail, 0 to 1 (%(default)s)",
    )  # fmt: skip
    faults.add_argument(
        "--fail-status", type=values.status, default=default.fail_status, metavar="STATUS",
        help="their HTTP status (%(default)s)",
    )  # fmt: skip
    faults.add_argument(
        "--seed", type=int, default=default.seed, help="fixes texts and failures (%(default)s)"
    )
    faults.add_argument(
        "--control", action=argparse.BooleanOptionalAction, default=default.control,
        help="serve /_simulate: faults at run time, requests received",
    )  # fmt: skip
    engine = parser.add_argument_group("as in vLLM")
    engine.add_argument(
        "--enable-prefix-caching", action=argparse.BooleanOptionalAction,
        default=default.prefix_caching, help="reuse the blocks of known prompt prefixes",
    )  # fmt: skip
    engine.add_argument(
        "--enable-prompt-tokens-details", action="store_true", help="cached tokens in the usage"
    )
    engine.add_argument(
        "--enable-request-id-headers", action="store_true", help="X-Request-Id in answers"
    )
    engine.add_argument(
        "--enable-lora", action=argparse.BooleanOptionalAction, default=default.lora,
        help="adapters; with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 also at run time",
    )  # fmt: skip
    engine.add_argument(
        "--lora-modules", nargs="+", metavar="NAME=PATH", help="adapters to load at the start"
    )
    return parser


def _dashed(argument: str) -> str:
    """vLLM takes `--max_model_len` for `--max-model-len`."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value


def _split(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positional arguments, and unknown options with their values.

    Whether an unknown option takes a value cannot be known: what follows it and is no option
    itself is taken for its value. A model named by position therefore comes first, as in vLLM.
    """
    positional: list[str] = []
    ignored: list[str] = []
    for argument in rest:
        if ignored or argument.startswith("-"):
            ignored.append(argument)
        else:
            positional.append(argument)
    return positional, ignored


def _adapter(text: str) -> tuple[str, str]:
    """An adapter as vLLM spells it: NAME=PATH or a JSON object."""
    if text.startswith("{"):
        value = json.loads(text)
        return str(value["name"]), str(value["path"])
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ValueError(f"--lora-modules: {text!r} should be NAME=PATH")
    return name, path
