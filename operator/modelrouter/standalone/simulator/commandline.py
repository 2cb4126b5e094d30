"""The command line: the simulator's own options and vLLM's.

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

from modelrouter.standalone.simulator.settings import SimulatorSettings

_DEFAULTS = SimulatorSettings(model="")
_TRUE = ("1", "true")


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> SimulatorSettings:
    """The settings that the arguments and vLLM's environment variables ask for.

    Prints a notice for options that have no effect; exits with status 2 on a wrong one.
    """
    environ = os.environ if environ is None else environ
    parser = _parser()
    arguments = [_dashed(argument) for argument in argv]
    known, rest = parser.parse_known_args(arguments)
    positional, ignored = _split(rest)
    if positional[:1] == ["serve"]:
        positional = positional[1:]
    model = known.model or (positional[0] if positional else None)
    if not model:
        parser.error("name the model: --model NAME or serve NAME")
    if ignored:
        print(f"simulated vLLM: without effect here: {' '.join(ignored)}", file=sys.stderr)
    keys = tuple(known.api_key or ())
    if not keys and environ.get("VLLM_API_KEY"):
        keys = (environ["VLLM_API_KEY"],)
    try:
        keep_alive = float(environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", _DEFAULTS.keep_alive_s))
        adapters = tuple(_adapter(text) for text in known.lora_modules or ())
    except ValueError as error:
        parser.error(str(error))
    may_load = environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in _TRUE
    return SimulatorSettings(
        model=model,
        host=known.host,
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
        runtime_lora=known.enable_lora and may_load,
        control=known.control,
    )


def main(argv: Sequence[str]) -> int:
    """Run one server until it is told to stop; the exit status is 0 then."""
    # As process 1 of a container a signal without a handler is ignored, even while importing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = parse(argv)
    import uvloop

    from modelrouter.standalone.simulator.serving import serve

    try:
        uvloop.run(serve(settings))
    except OSError as error:
        print(
            f"simulated vLLM: cannot listen on {settings.host}:{settings.port}: {error}",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    # Abbreviations would take options of vLLM for others that begin alike.
    parser = argparse.ArgumentParser(
        prog="modelrouter simulate",
        description="An OpenAI-compatible server that behaves as vLLM does, without a model.",
        epilog="Other vLLM options are accepted and have no effect. `serve NAME` names the model "
        "as --model does.",
        allow_abbrev=False,
    )
    default = _DEFAULTS
    option = parser.add_argument
    option("--model", metavar="NAME", help="the model")
    option("--host", default=default.host, help="address to listen on (%(default)s)")
    option("--port", type=_port, default=default.port, help="port; 0: any free (%(default)s)")
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
        "--first-token", type=_time, default=default.first_token_ms, metavar="MS",
        help="milliseconds to the first token (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--per-token", type=_time, default=default.per_token_ms, metavar="MS",
        help="milliseconds between tokens (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--prefill-per-1k-tokens", type=_time, default=default.prefill_ms_per_1k_tokens,
        metavar="MS", help="milliseconds per 1,000 prompt tokens not in the cache (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--tokens", type=_positive, default=default.tokens, metavar="N",
        help="tokens in an answer (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--load-time", type=_time, default=default.load_time_s, metavar="S",
        help="seconds before the port opens (%(default)s)",
    )  # fmt: skip
    pace.add_argument(
        "--shutdown-timeout", type=_time, default=default.shutdown_timeout_s, metavar="S",
        help="seconds for open requests after SIGTERM; 0: they hang (%(default)s)",
    )  # fmt: skip
    size = parser.add_argument_group("size")
    for flag, value, text in (
        ("--max-model-len", default.max_model_len, "context window in tokens"),
        ("--max-num-seqs", default.max_num_seqs, "requests at once; more wait"),
        ("--num-gpu-blocks-override", default.kv_blocks, "blocks in the KV cache"),
        ("--block-size", default.block_size, "tokens in a block"),
        ("--embedding-dimensions", default.embedding_dimensions, "length of embeddings"),
    ):
        size.add_argument(
            flag, type=_tokens, default=value, metavar="N", help=f"{text} (%(default)s)"
        )
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--fail-rate", type=_share, default=default.fail_rate, metavar="P",
        help="share of requests that fail, 0 to 1 (%(default)s)",
    )  # fmt: skip
    faults.add_argument(
        "--fail-status", type=_status, default=default.fail_status, metavar="STATUS",
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
        "--enable-lora", action=argparse.BooleanOptionalAction, default=False,
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


def _tokens(text: str) -> int:
    """A number above 0, also as vLLM's human-readable `32k` (thousands) or `32K` (1,024s)."""
    units = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}
    if text[-1:] in units:
        return _checked(int(float(text[:-1]) * units[text[-1]]), at_least=1)
    return _positive(text)


def _positive(text: str) -> int:
    return _checked(int(text), at_least=1)


def _checked(value: int, *, at_least: int) -> int:
    if value < at_least:
        raise argparse.ArgumentTypeError(f"{value} should be at least {at_least}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{value} is no port; 0 to 65535 are")
    return value


def _time(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} should be 0 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} should be from 0 to 1")
    return value


def _status(text: str) -> int:
    value = int(text)
    if not 400 <= value <= 599:
        raise argparse.ArgumentTypeError(f"{value} should be an HTTP status from 400 to 599")
    return value
