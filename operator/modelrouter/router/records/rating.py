"""What somebody thought of an answer."""

from __future__ import annotations

from typing import NamedTuple


class Rating(NamedTuple):
    """The feedback on one request."""

    score: float
    """0, of no use, to 1, as it should be."""
    label: str = ""
    """What kind of judgement this is, such as `thumb` or `resolved`; empty: none was given."""
    comment: str = ""
