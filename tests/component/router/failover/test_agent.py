"""The agent dies or hangs under load: Envoy goes on alone, closed where it must be."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter

import httpx
import pytest

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import Load, Sample
from component.router.rig import Manifest, Router, eventually, route
from modelrouter.standalone.supervising import QUICK_DEATH

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 0.5}
POLICY_BACK_SECONDS = 3.0
TRIES = 5
"""On a machine that is busy with something else one measurement says little."""


def manifests(fleet: Fleet) -> list[Manifest]:
    """An open route with a rule that only the agent can follow, and one that is closed."""
    steered = {"name": "steered", "match": {"headers": [{"name": "x-tier", "exact": "gold"}]}}
    careful = {"name": "careful", "match": {"headers": [{"name": "x-care", "exact": "yes"}]}}
    return [
        *fleet.pools(beta={"dataClasses": ["internal"]}),
        route(
            "assistant",
            pools=["alpha", "beta", "gamma"],
            rules=[{**steered, "targets": [{"pool": "gamma"}]}],
        ),
        route(
            "closed",
            pools=["alpha", "beta"],
            rules=[{**careful, "targets": [{"pool": "beta"}], "failover": ["None"]}],
        ),
    ]


def is_policy(sample: Sample) -> bool:
    return sample.reason.startswith("rule:")


async def policy_back(load: Load, since: float) -> float:
    """The moment from which on the policy decides again."""
    load.first(is_policy, since)
    await asyncio.sleep(0.5)
    samples = load.since(since)
    alone = [sample.sent for sample in samples if not is_policy(sample)]
    last = max(alone, default=since)
    return load.first(lambda sample: is_policy(sample) and sample.sent >= last, since).ended


async def kill_agent(router: Router, load: Load) -> float:
    """Seconds from the agent's end until the policy decides again."""
    os.kill(router.children()["agent"], signal.SIGKILL)
    died = time.monotonic()
    load.first(lambda sample: sample.reason == "fall-through", died)
    return await policy_back(load, died) - died


async def test_the_agent_is_killed(router: Router, fleet: Fleet) -> None:
    await fleet.use(router, *manifests(fleet))
    took = []
    with Load(router.port, headers={"x-tier": "gold"}) as load:
        await run_for(0.5)
        took.append(await kill_agent(router, load))
        while took[-1] >= POLICY_BACK_SECONDS and len(took) < TRIES:
            # Who dies young several times stays away for a while.
            await run_for(QUICK_DEATH)
            took.append(await kill_agent(router, load))
    reasons = Counter(sample.reason for sample in load.samples)
    print(f"{load.story()}; reasons {dict(reasons)}; policy back after {took} s")
    load.assert_none_failed()
    assert reasons["fall-through"] > 0
    assert took[-1] < POLICY_BACK_SECONDS, took
    for sample in load.samples:
        assert sample.pool == ("gamma" if is_policy(sample) else "alpha"), sample
    await fleet.assert_pure()


async def test_the_agent_is_killed_three_times(router: Router, fleet: Fleet) -> None:
    """The supervisor gives it another life at once, and after some deaths a little later."""
    await fleet.use(router, *manifests(fleet))
    took = []
    with Load(router.port) as load:
        for _ in range(3):
            took.append(await kill_agent(router, load))
    print(f"{load.story()}; policy back after {[round(each, 2) for each in took]} s")
    load.assert_none_failed()
    assert max(took) < 3 * POLICY_BACK_SECONDS


async def test_the_agent_hangs(router: Router, fleet: Fleet) -> None:
    await fleet.use(router, *manifests(fleet))
    agent = router.children()["agent"]
    with Load(router.port) as load:
        await run_for(0.4)
        os.kill(agent, signal.SIGSTOP)
        stopped = await run_for(2.5)
        os.kill(agent, signal.SIGCONT)
        awake = time.monotonic()
        back = await policy_back(load, awake)
    print(f"{load.story(stopped)}; policy back after {back - awake:.2f} s")
    load.assert_none_failed()
    assert router.children()["agent"] == agent
    alone = [s for s in load.since(stopped + 1.2, awake) if s.reason == "fall-through"]
    assert len(alone) > 100
    # The time limit of one question, and seldom: Envoy soon stops asking.
    assert max(sample.seconds for sample in load.since(stopped)) < 3.0
    assert back - awake < POLICY_BACK_SECONDS


@pytest.mark.parametrize("absence", ["killed", "hung"])
async def test_what_is_closed_without_the_agent(router: Router, fleet: Fleet, absence: str) -> None:
    await fleet.use(router, *manifests(fleet))
    async with router.http() as http:

        async def ask(model: str, **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.post(
                "/v1/chat/completions", json={"model": model, **CHAT}, headers=named
            )

        async def served() -> bool:
            answer = await ask("assistant", x_data_class="internal")
            return answer.status_code == 200 and answer.headers["x-mr-pool"] == "beta"

        await eventually(served)
        assert (await ask("closed")).status_code == 200
        agent = router.children()["agent"]
        await fleet.of("beta").forget()
        os.kill(agent, signal.SIGSTOP)  # Neither there nor started again.
        try:
            if absence == "killed":
                # Its socket is gone before its successor's is there.
                os.kill(agent, signal.SIGKILL)
            await asyncio.sleep(0.1)  # What the agent decided a moment ago holds a moment longer.
            open_, unknown, *refused = await asyncio.gather(
                ask("assistant"),
                ask("nobody"),
                ask("assistant", x_data_class="internal"),
                ask("assistant", x_data_class=""),
                ask("closed"),
                ask("closed", x_care="yes"),
            )
        finally:
            if absence == "hung":
                os.kill(agent, signal.SIGCONT)
        assert (open_.status_code, open_.headers["x-mr-reason"]) == (200, "fall-through")
        for answer in refused:
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["code"] == "decision_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        assert unknown.status_code == 404
        assert unknown.json()["error"]["code"] == "model_not_found"
        await fleet.assert_untouched("beta")
        await eventually(served)
