"""Children are kept running, are never orphaned, and end when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelrouter.standalone.supervising import Child, Command, Death, describe_exit, restart_pause


@dataclass
class Recorder:
    """Remembers starts, deaths and lines."""

    starts: list[tuple[str, int, float]] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)

    def started(self, name: str, pid: int, starts: int) -> None:
        self.starts.append((name, pid, time.monotonic()))

    def died(self, death: Death) -> None:
        self.deaths.append(death)

    def said(self, name: str, line: str) -> None:
        self.lines.append((name, line))


async def until(happened: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition; fails the test when it does not come true."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


SLEEP = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")


@asynccontextmanager
async def running(command: Command, recorder: Recorder) -> AsyncIterator[Child]:
    child = Child(command, recorder)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        await child.stop(5)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_killed_child_is_started_again_at_once():
    recorder = Recorder()
    async with running(Command("sleeper", SLEEP), recorder) as child:
        await until(lambda: recorder.lines == [("sleeper", "up")])
        first = child.pid
        killed = time.monotonic()
        child.send(signal.SIGKILL)
        await until(lambda: len(recorder.starts) == 2)
        assert recorder.starts[1][2] - killed < 2.0
        assert child.pid != first
        assert recorder.deaths[0].reason == "killed by SIGKILL"
        assert recorder.deaths[0].restart_in == 0.0


async def test_a_child_that_keeps_dying_is_started_less_and_less_often():
    recorder = Recorder()
    async with running(Command("broken", (sys.executable, "-c", "exit(3)")), recorder):
        await until(lambda: len(recorder.deaths) >= 4)
    pauses = [death.restart_in for death in recorder.deaths[:4]]
    assert pauses == [0.0, 0.0, 0.25, 0.5]
    assert recorder.deaths[0].reason == "exit code 3"


@pytest.mark.parametrize(
    ("quick_deaths", "pause"), [(0, 0), (1, 0), (2, 0), (3, 0.25), (4, 0.5), (9, 10), (9999, 10)]
)
def test_pause_before_a_restart(quick_deaths: int, pause: float):
    assert restart_pause(quick_deaths) == pause


async def test_a_program_that_does_not_exist_is_reported_and_tried_again():
    recorder = Recorder()
    async with running(Command("ghost", ("/nowhere/ghost",)), recorder):
        await until(lambda: len(recorder.deaths) >= 2)
    assert recorder.deaths[0].pid is None
    assert recorder.deaths[0].reason == "cannot be started: No such file or directory"


async def test_a_held_child_stays_down_until_it_is_released():
    recorder = Recorder()
    async with running(Command("sleeper", SLEEP), recorder) as child:
        await until(lambda: recorder.starts)
        child.hold()
        child.send(signal.SIGKILL)
        await until(lambda: recorder.deaths)
        await asyncio.sleep(0.1)
        assert child.pid is None
        assert recorder.deaths[0].restart_in is None
        child.release()
        await until(lambda: child.pid is not None)


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace():
    recorder = Recorder()
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    command = Command("stubborn", (sys.executable, "-c", f"{code}; time.sleep(600)"))
    async with running(command, recorder) as child:
        await until(lambda: recorder.lines)
        pid = child.pid
        assert pid is not None
        began = time.monotonic()
        await child.stop(0.2)
        assert 0.15 < time.monotonic() - began < 2
        assert not is_alive(pid)
        assert recorder.deaths == []


async def test_a_retired_child_that_ends_is_neither_missed_nor_started_again():
    recorder = Recorder()
    async with running(Command("sleeper", SLEEP), recorder) as child:
        await until(lambda: recorder.starts)
        child.retire()
        child.send(signal.SIGKILL)
        await until(lambda: child.pid is None)
        await asyncio.sleep(0.05)
        assert len(recorder.starts) == 1
        assert recorder.deaths == []


async def test_stopping_a_child_that_is_waiting_for_its_restart_does_not_wait():
    recorder = Recorder()
    command = Command("late", (sys.executable, "-c", ""), restart_delay=60)
    async with running(command, recorder) as child:
        await until(lambda: recorder.deaths)
        began = time.monotonic()
        await child.stop(5)
        assert time.monotonic() - began < 1


async def test_what_the_child_started_ends_with_it():
    recorder = Recorder()
    code = (
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(p.pid, flush=True); time.sleep(600)"
    )
    async with running(Command("parent", (sys.executable, "-c", code)), recorder) as child:
        await until(lambda: recorder.lines)
        grandchild = int(recorder.lines[0][1])
        await child.stop(5)
        await until(lambda: not is_alive(grandchild))


async def test_lines_are_passed_on_whole_even_without_a_last_line_break():
    recorder = Recorder()
    code = "import sys; sys.stdout.write('one\\ntwo\\n\\nthr'); sys.stderr.write('ee')"
    command = Command("speaker", (sys.executable, "-u", "-c", code), restart_delay=60)
    async with running(command, recorder):
        await until(lambda: len(recorder.lines) == 3)
    assert [line for _, line in recorder.lines] == ["one", "two", "three"]


async def test_output_without_line_breaks_is_cut_rather_than_kept():
    recorder = Recorder()
    code = "import sys; sys.stdout.write('x' * 100_000)"
    command = Command("speaker", (sys.executable, "-c", code), restart_delay=60)
    async with running(command, recorder):
        await until(lambda: sum(len(line) for _, line in recorder.lines) == 100_000)
    assert len(recorder.lines) > 1


async def test_the_child_is_out_of_reach_of_the_terminals_ctrl_c():
    recorder = Recorder()
    async with running(Command("sleeper", SLEEP), recorder) as child:
        await until(lambda: recorder.starts)
        assert child.pid is not None
        assert os.getpgid(child.pid) == child.pid != os.getpgrp()


async def test_children_die_with_their_supervisor_even_if_that_is_killed():
    code = f"""
import asyncio
from modelrouter.standalone.supervising import Child, Command
class Observer:
    def started(self, name, pid, starts): print(pid, flush=True)
    def died(self, death): pass
    def said(self, name, line): pass
async def main():
    Child(Command("sleeper", {SLEEP!r}), Observer()).start()
    await asyncio.sleep(600)
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert supervisor.stdout is not None
    pid = int(await supervisor.stdout.readline())
    assert is_alive(pid)
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "exit code 0"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")],
)
def test_exit_codes_in_words(code: int, text: str):
    assert describe_exit(code) == text
