"""The demonstration's arithmetic, and its copy of the examples."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from modelrouter.api.manifests import load_manifests
from modelrouter.plan.routers import plan_router, router_keys
from modelrouter.standalone.demo.manifests import (
    ExamplesNotFoundError,
    change_weights,
    copy_manifests,
    find_examples,
)
from modelrouter.standalone.demo.screen import figures_lines
from modelrouter.standalone.demo.story import Findings
from modelrouter.standalone.demo.summary import failure_lines, summary_lines
from modelrouter.standalone.demo.tally import Answer, Tally, disturbance, percentile, shift

EXAMPLES = Path(__file__).parents[3] / "examples"


def answer(ended: float, pool: str = "a", session: str = "s", **more: object) -> Answer:
    values: dict[str, object] = {
        "kind": "chat",
        "session": session,
        "started": ended - 0.1,
        "ended": ended,
        "first_byte": ended,
        "route": "r",
        "pool": pool,
        **more,
    }
    return Answer(**values)  # type: ignore[arg-type]


def test_a_kill_is_told_by_what_clients_noticed():
    answers = [
        answer(9.9),
        answer(10.2, attempts=2),
        answer(10.3, started=10.25, failure="503"),
        answer(11.0, started=10.1, attempts=3, cuts=1),
        answer(11.1),
    ]
    found = disturbance(answers, killed=10.0)
    assert (found.answers, found.failures, found.resent, found.cuts) == (4, 1, 2, 1)
    assert found.first_answer == pytest.approx(0.2)
    assert found.longest_gap == pytest.approx(0.8)
    assert found.slowest == pytest.approx(0.9)


def test_a_kill_after_which_nothing_came():
    found = disturbance([], killed=10.0)
    assert found.first_answer is None
    assert found.answers == 0


def test_a_weight_shows_in_the_sessions_that_move():
    before = [answer(1, "a", "s1"), answer(2, "a", "s2"), answer(3, "b", "s3")]
    after = [
        answer(10.05, "b", "s1", started=9.99),  # sent before the save: says nothing
        answer(10.2, "a", "s2", started=10.05),
        answer(10.3, "b", "s1", started=10.1),
        answer(10.4, "a", "s2", started=10.2),
        answer(10.5, "a", "s3", started=10.3),
        answer(10.6, "b", "new", started=10.4),
    ]
    found = shift(before, after, saved=10.0, route="r", pool="b")
    assert found.first_moved == pytest.approx(0.1)
    assert (found.moved, found.strayed) == (1, 1)
    assert found.share == pytest.approx(0.5)


def test_shares_are_of_the_last_seconds_and_totals_of_all():
    tally = Tally([answer(1, "a"), *(answer(10 + n / 10, "b") for n in range(3))])
    tally.add(answer(10.4, "a", failure="503", route=""))
    rows = {row.pool: row for row in tally.shares(now=10.5, window=3)}
    assert rows["b"].recent_share == 1.0
    assert rows["b"].per_second == pytest.approx(1.0)
    assert rows["a"].requests == 1
    assert rows["a"].recent_share == 0.0
    assert len(tally.failures) == 1
    (line,) = figures_lines(tally, 10.5)
    assert "r -> b" in line


def test_percentiles():
    assert percentile([], 50) is None
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(list(range(100)), 99) == 99


def test_the_summary_tells_only_what_was_measured():
    tally = Tally([answer(1), answer(2, failure="503")])
    lines = dict(summary_lines(tally, Findings()))
    assert lines == {"requests": "2 (2 chat)", "failures": "1"}
    assert failure_lines(tally) == ["1 x chat: 503"]
    findings = Findings(
        acknowledged=0.042,
        shift=shift([answer(1)], [answer(3, "b", started=2.5)], 2.0, "r", "b"),
        server=disturbance([answer(3)], 2.5),
        healed=1.23,
        policy_back=0.8,
        alone=12,
    )
    text = str(summary_lines(tally, findings))
    for part in ("42 ms after the save", "500 ms after", "100 %", "1.2 s", "12 requests"):
        assert part in text


def test_the_copy_has_ports_of_its_own_and_the_same_ones_everywhere(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.yaml").write_text("[127.0.0.1:9101, 127.0.0.1:9102]")
    (source / "b.yaml").write_text("[127.0.0.1:9102]")
    ports = itertools.count(20_000)
    copy_manifests(source, tmp_path / "copy", lambda: next(ports))
    assert (tmp_path / "copy/a.yaml").read_text() == "[127.0.0.1:20000, 127.0.0.1:20001]"
    assert (tmp_path / "copy/b.yaml").read_text() == "[127.0.0.1:20001]"
    assert "9101" in (source / "a.yaml").read_text()


def test_weights_are_edited_and_nothing_else(tmp_path: Path):
    file = tmp_path / "route.yaml"
    file.write_text("- {pool: a, weight: 90}  # most\n- {pool: b, weight: 10}\n")
    change_weights(file, {"a": 50, "b": 50})
    assert file.read_text() == "- {pool: a, weight: 50}  # most\n- {pool: b, weight: 50}\n"
    with pytest.raises(ValueError, match="no target with pool c"):
        change_weights(file, {"c": 1})


def test_examples_are_found_here_or_where_told(tmp_path: Path):
    assert find_examples() == EXAMPLES / "quickstart"
    assert find_examples(EXAMPLES / "quickstart") == EXAMPLES / "quickstart"
    with pytest.raises(ExamplesNotFoundError, match="--examples"):
        find_examples(tmp_path)


FOR_CLUSTERS = {"kubernetes": "kubectl apply", "argocd": "argocd", "canary": "kubectl apply"}
"""Examples that need a cluster, and what their text tells to do."""
WITH_OTHERS = ("kubernetes", "argocd")
"""Those that bring more than routes and pools."""


@pytest.mark.parametrize(
    "folder",
    sorted(folder for folder in EXAMPLES.iterdir() if folder.name != "argocd"),
    ids=lambda folder: folder.name,
)
def test_every_example_is_without_problems_and_says_what_it_shows(folder: Path):
    manifests = load_manifests([folder])
    assert manifests.problems == []
    assert bool(manifests.ignored) == (folder.name in WITH_OTHERS)
    (key,) = router_keys(manifests)
    planned = plan_router(manifests, *key)
    assert planned.problems == []
    assert planned.config.routes
    text = "".join(file.read_text() for file in sorted(folder.glob("*.yaml")))
    assert text.startswith("# ")
    assert "curl" in text
    assert FOR_CLUSTERS.get(folder.name, "modelrouter run -f examples/") in text


def test_no_two_examples_use_the_same_port():
    seen: dict[str, str] = {}
    for folder in EXAMPLES.iterdir():
        for pool in load_manifests([folder]).pools.values():
            for address in pool.spec.endpoints or ():
                assert seen.setdefault(address, folder.name) == folder.name
