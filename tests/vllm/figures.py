"""Figures of a run, shown at its end; the documentation has them from there."""

from __future__ import annotations

FIGURES: list[str] = []


def note(figure: str) -> None:
    """Show a line at the end of the run."""
    FIGURES.append(figure)
