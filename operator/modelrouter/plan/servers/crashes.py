"""The one line that tells why a container ended, from the end of its log."""

from __future__ import annotations

import re

_ERROR = re.compile(r"\b[\w.]*(?:Error|Exception|Interrupt)\b: \S")
_PREFIX = re.compile(
    r"^(?:\([^)]*pid=\d+\)\s*)?(?:(?:ERROR|CRITICAL|WARNING|INFO)\s+)?"
    r"(?:\d\d-\d\d \d\d:\d\d:\d\d\s+)?(?:\[[\w./-]+:\d+\]\s*)?"
)
_HINTS_ELSEWHERE = (
    "See root cause above",
    "see the root cause above",
    "Engine core initialization",
)
_SECRETS = re.compile(
    r"\bhf_\w{8,}|\bsk-[\w-]{8,}|\bA[KS]IA[A-Z0-9]{12,}|(?<=[Bb]earer )\S+|(?<=://)[^/\s@]+(?=@)"
)
LONGEST = 300


def last_words(message: str) -> str:
    """The line of a termination message that says most; empty if it says nothing.

    That is the last error that does not only point to another one. What follows it in a log of
    Python is often noise, such as warnings about leaked semaphores.
    """
    lines = [line for raw in message.splitlines() if (line := _PREFIX.sub("", raw.strip()).strip())]
    errors = [line for line in lines if _ERROR.search(line)]
    causes = [line for line in errors if not any(hint in line for hint in _HINTS_ELSEWHERE)]
    told = (causes or errors or lines or [""])[-1]
    return shorten(told)


def shorten(text: str) -> str:
    """Text of another program for a status: one line, not too long, without what looks secret."""
    line = _SECRETS.sub("***", " ".join(text.split())).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
