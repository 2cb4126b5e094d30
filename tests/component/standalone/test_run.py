"""`modelrouter run` with a real Envoy, the agent and simulated servers."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from component.standalone.desk import Desk
from component.standalone.processes import Started, until


class Load:
    """One client that asks all the time, and what it got."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.answers: list[tuple[float, int, str, str]] = []
        """When each request began, its status, pool and reason. Status 0: no answer."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        body = {"model": "chat", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        with httpx.Client(timeout=10) as client:
            while not self._stop.is_set():
                began = time.time()
                try:
                    answer = client.post(f"{self.desk.url}/chat/completions", json=body)
                    headers = answer.headers
                    pool, reason = headers.get("x-mr-pool", ""), headers.get("x-mr-reason", "")
                    found = (answer.status_code, pool, reason or answer.text)
                except httpx.HTTPError as error:
                    found = (0, "", repr(error))
                self.answers.append((began, *found))
                self._stop.wait(0.005)

    def __enter__(self) -> Load:
        self._thread.start()
        until(lambda: self.answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)

    @property
    def failures(self) -> list[tuple[float, int, str, str]]:
        return [answer for answer in self.answers if answer[1] != 200]


def ready(run: Started) -> None:
    run.wait_for("ready: http")
    run.remember_directories()


def test_an_edit_is_live_at_once_and_costs_no_request(desk: Desk):
    with desk.running() as run:
        ready(run)
        assert desk.ask().headers["x-mr-pool"] == "small"
        delays = []
        with Load(desk) as load:
            for number in range(20):
                weights, pool = ((0, 100), "large") if number % 2 == 0 else ((100, 0), "small")
                saved = time.time()
                desk.write(weights)
                answer = until(lambda s=saved, p=pool: first_from(load, p, s))
                delays.append(answer - saved)
                time.sleep(0.1)
        assert load.failures == []
        assert sorted(delays)[len(delays) // 2] < 0.3
        assert run.find(r"configuration [0-9a-f]{16} live \d+ ms after the save")


def first_from(load: Load, pool: str, since: float) -> float | None:
    return next((a[0] for a in load.answers if a[0] >= since and a[2] == pool), None)


def test_a_broken_manifest_leaves_the_old_configuration_serving(desk: Desk):
    with desk.running() as run:
        ready(run)
        version = desk.admin("/configz")["version"]
        desk.write(extra="  retri: {}\n")
        run.wait_for(r"error: not applied: .*route\.yaml:12: .*did you mean \"retry\"")
        problem = until(lambda: desk.admin("/readyz").get("problems"))[0]
        assert problem["source"].endswith("route.yaml:12")
        assert problem["resource"] == "ModelRoute default/chat"
        assert desk.ask().status_code == 200
        assert desk.admin("/configz")["version"] == version
        assert httpx.get(f"http://127.0.0.1:{desk.admin_port}/readyz").status_code == 200
        desk.write((0, 1))
        run.wait_for("in order again")
        until(lambda: desk.ask().headers["x-mr-pool"] == "large")
        until(lambda: not desk.admin("/readyz").get("problems"))


def test_a_killed_agent_is_replaced_without_a_failed_request(desk: Desk):
    with desk.running() as run:
        ready(run)
        with Load(desk) as load:
            (agent,) = run.pids("modelrouter router")
            os.kill(agent, signal.SIGKILL)
            killed = time.time()
            until(lambda: any(a[3] == "fall-through" for a in load.answers))
            until(lambda: any(a[0] > killed + 0.5 and a[3] != "fall-through" for a in load.answers))
            assert run.pids("modelrouter router") != [agent]
        assert load.failures == []
        assert run.find(rf"agent \(pid {agent}\) died: killed by SIGKILL; back at once")


def test_a_killed_envoy_is_replaced_at_once(desk: Desk):
    with desk.running() as run:
        ready(run)
        (envoy,) = run.pids("envoy.json")
        os.kill(envoy, signal.SIGKILL)
        killed = time.monotonic()

        def answered() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return desk.ask().status_code == 200
            return False

        until(answered)
        assert time.monotonic() - killed < 4.0
        assert run.pids("envoy.json") != [envoy]


def test_a_killed_simulated_server_comes_back_and_so_does_its_traffic(desk: Desk):
    with desk.running() as run:
        ready(run)
        (server,) = run.pids("--name small-0")
        os.kill(server, signal.SIGKILL)
        assert desk.ask().headers["x-mr-pool"] == "large"
        until(lambda: desk.ask().headers["x-mr-pool"] == "small", 15)


def test_a_pool_that_is_new_gets_a_simulated_server_and_loses_it_with_its_route(desk: Desk):
    with desk.running() as run:
        ready(run)
        pool = (desk.folder / "small.yaml").read_text().replace("name: small", "name: extra")
        pool = pool.replace(f"127.0.0.1:{desk.pools['small']}", "extra.models.example:8000")
        (desk.folder / "extra.yaml").write_text(pool)
        route = (desk.folder / "route.yaml").read_text()
        extra = route.replace("name: chat", "name: extra").replace("[chat]", "[extra]")
        extra = extra.replace("[small, large]", "[extra]").partition("  rules:")[0]
        (desk.folder / "extra-route.yaml").write_text(extra)
        run.wait_for("simulated model servers: extra-0 on 127.0.0.1:")
        until(lambda: desk.ask(model="extra").status_code == 200)
        (desk.folder / "extra-route.yaml").unlink()
        run.wait_for("extra-0 is not needed any more")
        until(lambda: not run.pids("--name extra-0"))
        assert desk.ask().status_code == 200


def test_ctrl_c_lets_open_streams_end_and_leaves_nothing(desk: Desk):
    with desk.running() as run:
        ready(run)
        body = {"model": "chat", "stream": True, "max_tokens": 120, "messages": []}
        body["messages"] = [{"role": "user", "content": "Hi"}]
        with httpx.stream("POST", f"{desk.url}/chat/completions", json=body, timeout=10) as answer:
            lines = answer.iter_lines()
            next(lines)
            run.process.send_signal(signal.SIGINT)
            assert "data: [DONE]" in list(lines)
        assert run.end() == 0
        assert run.find("stopping: open requests are finished first")
        run.assert_nothing_is_left()


def test_a_second_ctrl_c_stops_at_once(desk: Desk):
    with desk.running() as run:
        ready(run)
        body = {"model": "chat", "stream": True, "min_tokens": 4000, "max_tokens": 4000}
        body["messages"] = [{"role": "user", "content": "Hi"}]
        with httpx.stream("POST", f"{desk.url}/chat/completions", json=body, timeout=10) as answer:
            lines = answer.iter_lines()  # kept: without its reader the stream would be closed
            next(lines)
            run.process.send_signal(signal.SIGINT)
            run.wait_for("stopping")
            time.sleep(0.5)
            assert run.process.poll() is None
            run.process.send_signal(signal.SIGINT)
            assert run.end(5) == 0
        run.assert_nothing_is_left()


def test_ctrl_c_while_starting_leaves_nothing(desk: Desk):
    with desk.running() as run:
        until(lambda: run.pids("--name small-0"))
        run.remember_directories()
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 0
        run.assert_nothing_is_left()


def test_kill_9_leaves_nothing(desk: Desk):
    with desk.running() as run:
        ready(run)
        run.process.kill()
        run.end()
        run.assert_nothing_is_left()


@pytest.fixture
def provider() -> Iterator[tuple[int, list[str | None]]]:
    """A provider's server, and the authorization of each request that reached it."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            seen.append(self.headers["authorization"])
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], seen
        server.shutdown()
        thread.join()


def test_a_key_from_the_environment_reaches_the_provider_and_nobody_else(
    desk: Desk, provider: tuple[int, list[str | None]]
):
    port, seen = provider
    (desk.folder / "large.yaml").write_text(
        f"""apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: large}}
spec:
  model: large-model
  provider:
    kind: OpenAICompatible
    baseUrl: http://127.0.0.1:{port}/v1
    credentials: {{secretRef: {{name: cloud, key: token}}}}
"""
    )
    desk.write((0, 100))
    options = {"secret_env": "cloud/token=CLOUD_TOKEN", "log_level": "debug"}
    with desk.running({"CLOUD_TOKEN": "tok-12345"}, **options) as run:
        ready(run)
        answer = desk.ask()
        assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "large")
        assert seen == ["Bearer tok-12345"]
        assert "tok-12345" not in "\n".join(run.lines)
        assert "tok-12345" not in str(desk.admin("/readyz"))
        assert run.pids("--name small-0")
        assert not run.pids("--name large-0")


def test_a_taken_port_is_named(desk: Desk):
    with desk.running() as run:
        ready(run)
        with desk.running() as second:
            second.wait_for(f"--port {desk.port}: the port is taken")
            assert second.end() == 1
        assert desk.ask().status_code == 200


def test_manifests_that_say_nothing_right_end_the_start_with_their_place(desk: Desk):
    desk.write(extra="  nonsense: {}\n")
    with desk.running() as run:
        run.wait_for(r"route\.yaml:12: .*nonsense")
        assert run.end() == 1
        assert run.find("there is nothing to serve")
        run.assert_nothing_is_left()


def test_a_state_directory_serves_the_last_good_where_the_manifests_are_broken(desk: Desk):
    state = desk.folder.parent / "state"
    with desk.running(state_dir=state) as run:
        ready(run)
        run.process.send_signal(signal.SIGTERM)
        assert run.end() == 0
    desk.write(extra="  nonsense: {}\n")
    with desk.running(state_dir=state) as run:
        run.wait_for("error: not applied: .*nonsense")
        ready(run)


def test_an_envoy_that_cannot_run_is_reported_with_its_last_words(desk: Desk):
    broken = desk.folder.parent / "envoy"
    broken.write_text("#!/bin/sh\necho wrong architecture >&2\nexit 126\n")
    broken.chmod(0o755)
    with desk.running(envoy=broken) as run:
        assert run.end() == 1
        assert run.find("the envoy does not come up")
        assert run.find("wrong architecture")
        run.assert_nothing_is_left()


def test_a_canary_that_nobody_moves_on_is_told_once(desk: Desk):
    canary = "  canary: {rule: default, from: small, to: large, steps: [{weight: 50, pause: 1s}]}\n"
    desk.write(extra=canary)
    with desk.running() as run:
        ready(run)
        line = r"warning: ModelRoute default/chat: only the operator moves a canary on"
        assert run.find(line)
        said = len(run.lines)
        assert {desk.ask().headers["x-mr-pool"] for _ in range(20)} == {"small"}
        desk.write((50, 50), extra=canary)
        run.wait_for(r"configuration [0-9a-f]{16} live")
        assert not run.find(line, after=said)
