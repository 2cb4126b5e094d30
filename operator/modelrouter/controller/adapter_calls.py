"""vLLM's requests for LoRA adapters on a running server.

https://docs.vllm.ai/en/stable/features/lora/#dynamically-serving-lora-adapters
"""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from modelrouter.api.quantities import join_address
from modelrouter.plan.servers.crashes import shorten

LOAD_SECONDS = 600.0
"""An adapter may have to be downloaded first."""
ANSWER_SECONDS = 10.0


class AdapterError(Exception):
    """An adapter could not be loaded or unloaded; the message is for people."""


class AdapterCalls:
    """Asks the vLLM servers of pods."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port

    async def load(self, address: str, name: str, path: str) -> None:
        """Have an adapter loaded. One that is there already is kept if it is of this path."""
        answer = await self._load(address, name, path)
        if answer is None:
            return
        if "already" not in answer:
            raise AdapterError(answer)
        if (await self._paths(address)).get(name) == path:
            return
        await self.unload(address, name)
        if answer := await self._load(address, name, path):
            raise AdapterError(answer)

    async def unload(self, address: str, name: str) -> None:
        """Have an adapter unloaded; one that is not there is fine."""
        status, answer = await self._post(
            address, "/v1/unload_lora_adapter", {"lora_name": name}, ANSWER_SECONDS
        )
        if status != 404 and status >= 300:
            raise AdapterError(_told(status, answer))

    async def _load(self, address: str, name: str, path: str) -> str | None:
        body = {"lora_name": name, "lora_path": path}
        status, answer = await self._post(address, "/v1/load_lora_adapter", body, LOAD_SECONDS)
        if status == 404 and "load_lora_adapter" not in answer and not _message(answer):
            return "the server has no /v1/load_lora_adapter; is this image a vLLM?"
        return None if status < 300 else _told(status, answer)

    async def _paths(self, address: str) -> dict[str, str]:
        """Paths of the models that a server lists, by name."""
        status, answer = await self._ask("GET", address, "/v1/models", None, ANSWER_SECONDS)
        try:
            found: Any = orjson.loads(answer)
            return {str(m["id"]): str(m.get("root") or "") for m in found["data"]}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise AdapterError(_told(status, answer)) from None

    async def _post(
        self, address: str, path: str, body: dict[str, str], seconds: float
    ) -> tuple[int, str]:
        return await self._ask("POST", address, path, body, seconds)

    async def _ask(
        self, method: str, address: str, path: str, body: dict[str, str] | None, seconds: float
    ) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=5)
        url = f"http://{join_address(address, self._port)}{path}"
        try:
            async with self._session.request(method, url, json=body, timeout=timeout) as response:
                return response.status, (await response.content.read(65536)).decode(
                    errors="replace"
                )
        except TimeoutError:
            raise AdapterError(f"no answer from port {self._port} in {seconds:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            kind = type(error).__name__
            raise AdapterError(f"port {self._port} cannot be reached ({kind})") from None


def _told(status: int, answer: str) -> str:
    return f"vLLM answers {status}: {shorten(_message(answer) or answer) or 'nothing else'}"


def _message(answer: str) -> str:
    """The message of an error as vLLM writes it, now or in earlier versions."""
    try:
        found: Any = orjson.loads(answer)
        error = found.get("error", found)
        return str(error.get("message") or "")
    except (ValueError, AttributeError):
        return ""
