"""The demonstration, shortened: nothing fails, and nothing is left behind."""

from __future__ import annotations

import signal
import sys

from component.standalone.processes import started

_DEMO = """
import sys
from modelrouter.standalone.demo.staging import run_demo
sys.exit(run_demo(plain=True, pace=float(sys.argv[1])))
"""


def test_the_whole_story_without_a_failed_request():
    # Long enough acts for an answer in each of them on a busy machine.
    with started([sys.executable, "-c", _DEMO, "0.3"]) as run:
        run.wait_for("1. Steady traffic")
        run.remember_directories()
        status = run.end(80)
        assert status == 0, "\n".join(run.lines)
        for line in (
            r"^failures +0$",
            r"^new weight live in Envoy +\d+ ms",
            r"^first request by the new weight +\d+ ms",
            r"^one server of llama-8b killed +next answer \d+ ms",
            r"^all of llama-8b killed +next answer \d+ ms",
            r"^agent killed +next answer \d+ ms",
        ):
            assert run.find(line), "\n".join(run.lines)
        run.assert_nothing_is_left()


def test_ctrl_c_in_the_middle_leaves_nothing():
    with started([sys.executable, "-c", _DEMO, "0.12"]) as run:
        run.wait_for("3. Kill one")
        run.remember_directories()
        run.process.send_signal(signal.SIGINT)
        assert run.end(15) == 130
        run.assert_nothing_is_left()
