"""What requests see of a server that is told to stop, the real and the simulated one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from vllm.answers import ask
from vllm.environment import RealVllm
from vllm.reading import Reader
from vllm.serving import ModelServer, serving_simulator, serving_vllm

Serve = Callable[..., AbstractContextManager[ModelServer]]
CHAT = "/v1/chat/completions"
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


@pytest.fixture(params=["vllm", "simulator"])
def serve(request: pytest.FixtureRequest, real: RealVllm, tmp_path: Path) -> Serve:
    """Starts the one or the other, for streams that take a while."""

    def start(*args: str) -> AbstractContextManager[ModelServer]:
        log = tmp_path / f"{request.param}.log"
        args = ("--served-model-name=tiny", *args)
        if request.param == "vllm":
            return serving_vllm(real, log, *args, "--max-model-len=16384", "--enforce-eager")
        return serving_simulator(log, *args, "--max-model-len=16384", "--per-token=5")

    return start


def test_open_streams_end_well_and_nothing_new_is_taken(serve: Serve) -> None:
    with serve("--shutdown-timeout=120") as server:
        with Reader(server, tokens=2000) as stream:
            stream.await_tokens(10)
            server.terminate()
            time.sleep(0.5)
            # To a probe it is as healthy as before: only the cluster knows that it goes.
            assert ask(server, "GET", "/health").status == 200
            refused = ask(server, "POST", CHAT, QUESTION)
            assert (refused.status, refused.error) == (
                500, {"type": "InternalServerError", "param": None, "code": 500},
            )  # fmt: skip
            stream.await_end(within=120)
            assert stream.done
            assert stream.tokens == 2000
        assert server.process.wait(30) == 0


def test_streams_that_take_longer_than_allowed_hang(serve: Serve) -> None:
    """Which is why a pod is killed soon after."""
    with serve("--shutdown-timeout=1") as server, Reader(server, tokens=15_000) as stream:
        stream.await_tokens(10)
        server.terminate()
        time.sleep(4)
        had = stream.tokens
        time.sleep(3)
        assert stream.tokens == had < 15_000
        assert not stream.ended
        with pytest.raises(ConnectionRefusedError):
            ask(server, "GET", "/health")
