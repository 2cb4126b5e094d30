"""`modelrouter canary …`: canaries, on a cluster and on paper."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="canary",
    help="Look at canaries, steer them, and try their analysis on simulated traffic.",
    no_args_is_help=True,
)
