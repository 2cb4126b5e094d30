"""An agent that finds no source serves by what it knew last, until the source is there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from component.router.failover.fleet import Fleet
from component.router.processes import ask, eventually, launch
from component.router.rig import Rig, Router
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.ports import free_port

CHAT = {
    "model": "assistant",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 2,
    "temperature": 0.5,
}


@pytest.fixture
def earlier(own_rig: Rig, tmp_path: Path) -> tuple[Fleet, Path, Path]:
    """A fleet, and state directory and configuration of a router that has ended."""
    fleet = Fleet(own_rig)
    router = own_rig.router(*fleet.manifests(pools=["beta", "alpha"]))
    config = tmp_path / "kept.json"
    state = tmp_path / "state"
    config.write_text((router.state_dir / "last-good.json").read_text())
    router.stop()
    shutil.copytree(router.state_dir, state)  # As a volume that outlived its pod.
    return fleet, state, config


@pytest.fixture
def places() -> Iterator[Path]:
    # Not pytest's directory: paths of Unix sockets may have 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="mr-"))
    yield directory
    shutil.rmtree(directory)


async def test_a_start_without_a_source(
    earlier: tuple[Fleet, Path, Path], places: Path, tmp_path: Path
) -> None:
    fleet, state, kept = earlier
    assert all(file.stat().st_mode & 0o077 == 0 for file in state.iterdir()), "it holds keys"
    port, admin = free_port(), free_port()
    config = places / "given" / "router-config.json"
    arguments = [sys.executable, "-m", "modelrouter", "router", "--config", str(config)]
    arguments += ["--secrets", str(config.parent / "secrets.json")]
    arguments += ["--runtime-dir", str(places), "--state-dir", str(state)]
    arguments += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    arguments += ["--void-port", str(free_port()), "--drain-seconds", "1"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(launch(arguments, tmp_path / "agent.log"))
        await eventually((places / "envoy.json").exists, within=15)
        envoy = [str(find_envoy()), "-c", str(places / "envoy.json")]
        started.append(launch([*envoy, "--concurrency", "1", *ENVOY_FLAGS], tmp_path / "envoy.log"))

        async def ready() -> bool:
            try:
                return bool((await ask(admin, "GET", "/readyz", ok=(200, 503)))["ready"])
            except OSError:
                return False

        await eventually(ready, within=15)
        assert "starting from the last good one" in (tmp_path / "agent.log").read_text()
        async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}") as http:
            answer = await http.post("/v1/chat/completions", json=CHAT)
            assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "beta")
            await fleet.assert_pure("beta")

            # The source comes back, with other contents.
            document = json.loads(kept.read_text())
            for rule in document["routes"]["assistant"]["rules"]:
                rule["targets"] = [{"pool": "alpha", "weight": 1}]
            document["version"] = "another"
            config.parent.mkdir()
            (config.parent / "secrets.json").write_text((state / SECRETS).read_text())
            draft = places / "draft"
            draft.write_text(json.dumps(document))
            draft.replace(config)

            async def taken_over() -> bool:
                answer = await http.post("/v1/chat/completions", json=CHAT)
                assert answer.status_code == 200, answer.text
                return answer.headers["x-mr-pool"] == "alpha"

            await eventually(taken_over)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGKILL)
            process.wait(5)


SECRETS = "last-good-secrets.json"


async def test_a_router_starts_over_broken_manifests(own_rig: Rig) -> None:
    """`modelrouter run` with a state directory: what was in force goes on being served."""
    server = own_rig.simulator("only")
    router: Router = own_rig.router(
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelPool",
            "metadata": {"name": "only"},
            "spec": {"model": server.model, "endpoints": [server.address]},
        },
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelRoute",
            "metadata": {"name": "assistant"},
            "spec": {"models": ["assistant"], "pools": ["only"]},
        },
    )
    good = (router.manifests / "all.yaml").read_text()
    router.stop()
    (router.manifests / "all.yaml").write_text("kind: [")
    router.log.write_text("")
    router.start()
    async with router.http() as http:
        answer = await http.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "only")
        problems = (await router.readiness())["problems"]
        assert "all.yaml:" in str(problems), problems
        (router.manifests / "all.yaml").write_text(good)

        async def mended() -> bool:
            return not (await router.readiness())["problems"]

        await eventually(mended)
        assert (await http.post("/v1/chat/completions", json=CHAT)).status_code == 200
