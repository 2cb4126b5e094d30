"""One page of results, whose sections are measured apart: each run replaces only its own."""

from __future__ import annotations

from pathlib import Path

REQUESTS = "requests"
CLUSTER = "cluster"
PREFIXES = "prefixes"
MIRRORS = "mirrors"
_ORDER = (REQUESTS, MIRRORS, PREFIXES, CLUSTER)


def write_section(page: Path, name: str, text: str) -> None:
    """Put a section into the page, in place of what it was; the others stay."""
    sections = _split(page.read_text() if page.exists() else "")
    sections[name] = text.strip("\n")
    parts = (f"{_mark(n)}\n{sections[n]}\n" for n in _ORDER if n in sections)
    page.write_text("\n".join(parts))


def _split(content: str) -> dict[str, str]:
    """The sections of a page. One without any marks is all about requests."""
    places = sorted((content.find(_mark(n)), n) for n in _ORDER if _mark(n) in content)
    if not places:
        return {REQUESTS: content.strip("\n")} if content.strip() else {}
    ends = [start for start, _ in places[1:]] + [len(content)]
    return {
        name: content[start + len(_mark(name)) : end].strip("\n")
        for (start, name), end in zip(places, ends, strict=True)
    }


def _mark(name: str) -> str:
    return f"<!-- section: {name} -->"
