"""Envoy dies under load: its connections are lost, the next ones are served soon."""

from __future__ import annotations

import os
import signal
import time

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import Load
from component.router.rig import Router

SERVING_AGAIN_SECONDS = 2.0


async def test_envoy_is_killed(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    took = []
    with Load(router.port) as load:
        for _ in range(2):
            await run_for(0.5)
            os.kill(router.children()["envoy"], signal.SIGKILL)
            died = time.monotonic()
            # What was sent before may have been answered while other requests were not.
            gone = load.first(lambda sample: bool(sample.problem), died)
            back = load.first(lambda sample: not sample.problem, gone.sent)
            took.append(back.ended - died)
            settled = await run_for(1.0)
            late = load.since(settled)
            assert not [sample for sample in late if sample.problem], late
            assert {sample.reason for sample in late} == {"rule:pools"}
    print(f"{load.story()}; serving after {[round(each, 2) for each in took]} s")
    assert max(took) < SERVING_AGAIN_SECONDS
    # In between nobody listens: everything that fails, fails for lack of a connection.
    assert {sample.status for sample in load.failures} == {0}
    await fleet.assert_pure()


async def test_both_are_killed(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    with Load(router.port) as load:
        await run_for(0.4)
        for name in ("agent", "envoy"):
            os.kill(router.children()[name], signal.SIGKILL)
        died = time.monotonic()
        back = load.first(lambda sample: sample.reason == "rule:pools", died)
        settled = await run_for(0.7)
    print(f"{load.story()}; serving after {back.ended - died:.2f} s")
    assert {sample.status for sample in load.failures} <= {0}
    assert not [sample for sample in load.since(settled) if sample.problem]
