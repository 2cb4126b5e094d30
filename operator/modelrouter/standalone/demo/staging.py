"""`modelrouter demo`: sets the stage, tells the story, sums it up and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

from modelrouter.standalone.assembling import StandaloneRouter, StartError
from modelrouter.standalone.demo.manifests import (
    ExamplesNotFoundError,
    copy_manifests,
    find_examples,
)
from modelrouter.standalone.demo.screen import Screen
from modelrouter.standalone.demo.story import Story, UnexpectedTurnError
from modelrouter.standalone.demo.summary import failure_lines, summary_lines
from modelrouter.standalone.demo.tally import Tally
from modelrouter.standalone.envoy_binary import EnvoyNotFoundError
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.options import RunOptions
from modelrouter.standalone.ports import free_port
from modelrouter.standalone.running import unless
from modelrouter.standalone.runtime_directory import runtime_directory

_INTERRUPTED = 130


def run_demo(
    examples: Path | None = None,
    envoy: Path | None = None,
    plain: bool = False,
    pace: float = 1.0,
) -> int:
    """Run the demonstration; the exit status is 0 only if no request failed.

    `pace` stretches or shortens its acts. Everything it makes, processes and files, is gone when
    it ends, however it ends.
    """
    try:
        source = find_examples(examples)
        with runtime_directory() as place:
            return asyncio.run(_demo(source, place, envoy, plain, pace))
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        print("modelrouter demo: run `pip install 'model-router-operator[demo]'`", file=sys.stderr)
    except (EnvoyNotFoundError, ExamplesNotFoundError, StartError) as error:
        print(f"modelrouter demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 1


async def _demo(source: Path, place: Path, envoy: Path | None, plain: bool, pace: float) -> int:
    manifests, runtime = place / "manifests", place / "run"
    copy_manifests(source, manifests, free_port)
    runtime.mkdir(mode=0o700)
    tally = Tally()
    screen = Screen(tally, plain)
    options = RunOptions(
        paths=[manifests], port=0, admin_port=0, simulate=True, envoy=envoy, envoy_concurrency=1
    )
    router = StandaloneRouter(options, runtime, screen.tell)
    story = Story(router, manifests, tally, screen, pace)
    stop = asyncio.Event()

    def hear() -> None:
        if stop.is_set():
            router.kill()
        else:
            stop.set()
            screen.tell(Event(Level.INFO, "stopping"))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, hear)
    began = time.monotonic()
    unexpected = ""
    screen.open()
    try:
        async with router:
            finished = await unless(stop, router.start())
            if finished:
                finished = await unless(stop, _perform(story))
    except* UnexpectedTurnError as errors:
        unexpected, finished = str(errors.exceptions[0]), True
    finally:
        screen.close()
    if not finished and not tally.answers:
        return _INTERRUPTED
    good = not tally.failures and not unexpected
    lines = summary_lines(tally, story.findings)
    lines.append(("time", f"{time.monotonic() - began:.0f} s"))
    screen.conclude(lines, good, [unexpected] * bool(unexpected) + failure_lines(tally))
    if not finished:
        return _INTERRUPTED
    return 0 if good else 1


async def _perform(story: Story) -> None:
    # The client is imported while the router is already up: it takes a second.
    from modelrouter.standalone.demo.traffic import Traffic

    traffic = Traffic(story.router.places.url, story.tally, story.may_be_cut)
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(story.router.follow()),
            tasks.create_task(story.screen.refresh()),
        ]
        sending = tasks.create_task(traffic.run())
        await story.tell()
        story.screen.act("The end: the last requests are answered")
        traffic.stop()
        await sending
        for task in background:
            task.cancel()
