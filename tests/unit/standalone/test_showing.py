"""What a person is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from modelrouter.standalone.assembling import death_text
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.observing import PoolHealth, read_figures
from modelrouter.standalone.supervising import Death
from modelrouter.standalone.tables import count, duration, pool_table, route_table
from modelrouter.standalone.viewing import PlainAudience

FIGURES = read_figures(
    {
        "version": "v1",
        "routes": {
            "chat": {
                "small": {
                    "requests": 900,
                    "errors": 1,
                    "prompt_tokens": 36_000,
                    "completion_tokens": 12_345_678,
                    "latency_ms": {"p50": 181.4, "p99": 1250.0},
                    "first_byte_ms": {"p50": 4.2, "p99": 60},
                    "recent": {"requests": 90, "share": 0.9},
                },
                "large": {"requests": 0, "latency_ms": {"p50": None}, "recent": None},
            }
        },
        "pools": {
            "small": {"ready": 1, "endpoints": 2, "in_flight": 3},
            "large": {"ready": None, "endpoints": None, "in_flight": 0},
        },
    }
)


def drawn(*tables: object) -> str:
    console = Console(file=io.StringIO(), width=100, legacy_windows=False)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_figures_of_an_agent_that_says_little_are_empty():
    assert read_figures({}).shares == ()
    assert read_figures({"routes": {}, "pools": []}).pools == ()


def test_a_route_is_drawn_with_its_pools_in_100_columns():
    text = drawn(route_table(FIGURES.shares, {"chat": ["chat"], "idle": ["idle"]}))
    (line,) = [line for line in text.splitlines() if "small" in line]
    for figure in ("90 %", "18.0", "900", "181 ms", "1.2 s", "4.2 ms", "36.0k/12.3M"):
        assert figure in line
    assert "…" not in text
    assert "no requests yet" in text


def test_pools_are_drawn_with_their_endpoints():
    text = drawn(pool_table(FIGURES.pools))
    assert "●○ 1 of 2" in text
    assert "not known yet" in text
    assert "○○" in drawn(pool_table([PoolHealth("gone", 0, 2)]))


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (9999, "9999"), (12_345, "12.3k"), (4_500_000, "4.5M")]
)
def test_numbers_are_short(number: int, text: str):
    assert count(number) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(None, "-"), (1.25, "1.2 ms"), (181.4, "181 ms"), (1250, "1.2 s")]
)
def test_times_are_short(milliseconds: float | None, text: str):
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("death", "text"),
    [
        (Death("envoy", 7, "exit code 1", 0), "envoy (pid 7) died: exit code 1; back at once"),
        (Death("a-0", 7, "killed by SIGKILL", 3), "a-0 (pid 7) died: killed by SIGKILL; back in 3"),
        (Death("a-0", 7, "killed by SIGKILL", None), "; stays down"),
        (Death("envoy", None, "cannot be started: x", 10), "envoy cannot be started: x; back in"),
    ],
)
def test_deaths_are_told_in_a_sentence(death: Death, text: str):
    assert text in death_text(death)


def test_plain_lines_say_how_bad_it_is_and_survive_a_closed_pipe():
    output = io.StringIO()
    audience = PlainAudience(output)
    audience.tell(Event(Level.ERROR, "not applied: x.yaml:3: no"))
    audience.tell(Event(Level.INFO, "ready"))
    first, second = output.getvalue().splitlines()
    assert first.endswith(" error: not applied: x.yaml:3: no")
    assert second.endswith(" ready")

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    audience = PlainAudience(Closed())
    audience.tell(Event(Level.INFO, "nobody hears"))
    audience.tell(Event(Level.INFO, "nobody hears"))
    audience.close()
