"""The simulator's knobs as environment variables.

Where it stands in vLLM's place its arguments are vLLM's, which has no options for these.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from modelrouter.standalone.simulator import values
from modelrouter.standalone.simulator.faults import FaultPlan, parse_plan
from modelrouter.standalone.simulator.settings import SimulatorSettings

PREFIX = "SIMULATE_"


@dataclass(frozen=True, slots=True)
class Knob:
    """One variable."""

    name: str
    field: str
    """Of SimulatorSettings."""

    read: Callable[[str], Any]
    text: str
    """For people, with `%s` for the default."""


def _plan(text: str) -> dict[str, Any]:
    try:
        plan = orjson.loads(text)
    except ValueError:
        plan = None
    if not isinstance(plan, dict):
        raise ArgumentTypeError(f"{text!r} should be a JSON object as for POST /_simulate")
    parse_plan(plan, FaultPlan())
    return plan


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _switch(text: str) -> bool:
    if text.lower() not in ("0", "1", "false", "true"):
        raise ArgumentTypeError(f"{text!r} should be 0 or 1")
    return text.lower() in ("1", "true")


KNOBS = (
    Knob("NAME", "label", str, "name of this server in answers, as system_fingerprint"),
    Knob("DOWNLOAD_SECONDS", "download_s", values.time,
         "seconds of downloading, unless HF_HOME has the model from an earlier start (%s)"),
    Knob("LOAD_SECONDS", "load_time_s", values.time, "seconds before the port opens (%s)"),
    Knob("LOAD_ERROR", "load_error", str,
         "after that time log this as vLLM would, and end with status 1"),
    Knob("FIRST_TOKEN_MS", "first_token_ms", values.time,
         "milliseconds to the first token of a prompt that is not cached (%s)"),
    Knob("PER_TOKEN_MS", "per_token_ms", values.time, "milliseconds between tokens (%s)"),
    Knob("PREFILL_MS_PER_1K_TOKENS", "prefill_ms_per_1k_tokens", values.time,
         "milliseconds to read 1,000 prompt tokens that are not cached, one prompt after "
         "the other (%s)"),
    Knob("TOKENS", "tokens", values.positive, "tokens in an answer (%s)"),
    Knob("KV_BLOCKS", "kv_blocks", values.positive,
         "blocks of the KV cache, as --num-gpu-blocks-override (%s)"),
    Knob("MAX_NUM_SEQS", "max_num_seqs", values.positive,
         "requests at once, as --max-num-seqs; more wait (%s)"),
    Knob("SEED", "seed", int, "fixes texts and failures (%s)"),
    Knob("FAULTS", "faults", _plan,
         'fault plan from the start, JSON as for POST /_simulate: {"mode":"engine_death"}'),
    Knob("FAIL_RATE", "fail_rate", values.share, "share of requests that fail, 0 to 1 (%s)"),
    Knob("FAIL_STATUS", "fail_status", values.status, "their HTTP status (%s)"),
    Knob("DEATH_SECONDS", "death_s", values.time,
         "seconds from the engine's death to the end of the process (%s)"),
    Knob("ADAPTER_LOAD_SECONDS", "adapter_load_s", values.time,
         "seconds that loading an adapter takes (%s)"),
    Knob("MISSING_ADAPTERS", "missing_adapters", _names,
         "paths of adapters that do not exist, parted by commas"),
    Knob("CONTROL", "control", _switch, "0: no /_simulate"),
)  # fmt: skip


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Fields of SimulatorSettings that variables set, and the variables that mean nothing.

    Raises:
        ValueError: A value is wrong; the text names the variable and what would be right.
    """
    by_name = {PREFIX + knob.name: knob for knob in KNOBS}
    fields: dict[str, Any] = {"cache": environ.get("HF_HOME", "")}
    unknown: list[str] = []
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX):
            continue
        knob = by_name.get(name)
        if knob is None:
            unknown.append(name)
            continue
        if not text:
            continue
        try:
            fields[knob.field] = knob.read(text)
        except (ValueError, ArgumentTypeError) as error:
            raise ValueError(f"{name}: {error}") from None
    return fields, unknown


def describe_environment() -> str:
    """The variables, for `--help`."""
    defaults = SimulatorSettings(model="")
    lines = []
    for knob in KNOBS:
        default = getattr(defaults, knob.field)
        text = knob.text % format(default, "g") if "%s" in knob.text else knob.text
        lines += [f"  {PREFIX}{knob.name}", f"                        {text}"]
    return "\n".join(lines)
