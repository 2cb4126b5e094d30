"""The page of benchmarks keeps what another run has measured."""

from __future__ import annotations

from pathlib import Path

from bench.sections import CLUSTER, REQUESTS, write_section


def test_each_run_replaces_only_its_own_section(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_section(page, CLUSTER, "## Cluster\n\none\n")
    write_section(page, REQUESTS, "# Benchmarks\n\nrequests\n")
    write_section(page, CLUSTER, "## Cluster\n\ntwo\n")
    text = page.read_text()
    assert text.index("# Benchmarks") < text.index("## Cluster")
    assert "requests" in text
    assert "two" in text
    assert "one" not in text
    write_section(page, REQUESTS, "# Benchmarks\n\nrequests\n")
    assert page.read_text() == text


def test_a_page_without_marks_is_about_requests(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\nold\n")
    write_section(page, CLUSTER, "## Cluster\n")
    assert page.read_text().splitlines()[1:4] == ["# Benchmarks", "", "old"]
    write_section(page, REQUESTS, "# Benchmarks\n\nnew\n")
    assert "old" not in page.read_text()
    assert "## Cluster" in page.read_text()
