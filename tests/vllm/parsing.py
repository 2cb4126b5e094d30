"""Have vLLM's own parser read command lines: JSON lists of arguments on stdin, one a line.

Run by a Python that has vLLM. For each line it prints the JSON object of what was understood, or a
string with the parser's complaint. With `--flags` it prints all flags instead, a list for each with
all its spellings.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from argparse import Namespace

from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser


def flags() -> list[list[str]]:
    """Spellings of the flags of `vllm serve`."""
    parser = FlexibleArgumentParser(prog="vllm")
    serve = ServeSubcommand().subparser_init(parser.add_subparsers(dest="subparser"))
    return [action.option_strings for action in serve._actions]


def understood(args: list[str]) -> dict[str, object] | str:
    """What `vllm serve` with these arguments would run with."""
    parser = FlexibleArgumentParser(prog="vllm")
    command = ServeSubcommand()
    command.subparser_init(parser.add_subparsers(dest="subparser"))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed: Namespace = parser.parse_args(["serve", *args])
            command.validate(parsed)
    except (SystemExit, ValueError, TypeError) as error:
        return f"{complaint.getvalue()[-500:]} {error}".strip()
    return {name: _plain(value) for name, value in vars(parsed).items()}


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


if __name__ == "__main__":
    if sys.argv[1:] == ["--flags"]:
        print("flags", json.dumps(flags()))
        sys.exit()
    for line in sys.stdin:
        print("understood", json.dumps(understood(json.loads(line)), default=str), flush=True)
