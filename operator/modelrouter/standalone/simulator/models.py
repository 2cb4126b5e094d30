"""The names a server answers to: its own and its LoRA adapters'."""

from __future__ import annotations

from typing import Any

from modelrouter.standalone.simulator.errors import ApiError
from modelrouter.standalone.simulator.settings import SimulatorSettings


class Models:
    """Which model names a request may use, and what `/v1/models` says of them."""

    def __init__(self, settings: SimulatorSettings, *, created: int) -> None:
        self._settings = settings
        self._created = created
        self._adapters = dict(settings.lora_modules)

    def resolve(self, name: object) -> str:
        """The model name that the answer carries: the first served name, or the adapter's."""
        served = self._settings.served_names
        if not name or name in served:
            return served[0]
        if name in self._adapters:
            return str(name)
        raise ApiError(
            404,
            f"The model `{name}` does not exist. Valid aliases: {', '.join(served)}.",
            param="model",
        )

    def adapter(self, model: str) -> str:
        """The adapter that answers as this model; none (empty) if the base model does."""
        return model if model in self._adapters else ""

    def check(self, name: str, path: str, *, in_place: bool = False) -> None:
        """Whether an adapter may be loaded from this path under this name.

        Raises:
            ApiError: vLLM would refuse it before it asks its engine.
        """
        if not name or not path:
            raise ApiError(
                400,
                "Both 'lora_name' and 'lora_path' must be provided.",
                error_type="InvalidUserInput",
            )
        if name in self._settings.served_names:
            raise ApiError(
                400,
                f"The lora adapter '{name}' conflicts with a served base model.",
                error_type="InvalidUserInput",
            )
        if name in self._adapters and not in_place:
            raise ApiError(
                400,
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True.",
                error_type="InvalidUserInput",
            )

    def load(self, name: str, path: str) -> str:
        """Add a LoRA adapter; returns vLLM's confirmation.

        Raises:
            ApiError: The engine cannot load it.
        """
        if not self._settings.lora:
            raise ApiError(500, "LoRA is not enabled. Use --enable-lora to enable LoRA.")
        if path in self._settings.missing_adapters:
            raise ApiError(404, f"Loading lora {name} failed: No adapter found for {path}")
        self._adapters[name] = path
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name: str) -> str:
        """Remove a LoRA adapter; returns vLLM's confirmation."""
        if not name:
            raise ApiError(
                400,
                "'lora_name' needs to be provided to unload a LoRA adapter.",
                error_type="InvalidUserInput",
            )
        if name not in self._adapters:
            raise ApiError(404, f"The lora adapter '{name}' cannot be found.")
        del self._adapters[name]
        return f"Success: LoRA adapter '{name}' removed successfully."

    def listing(self) -> dict[str, Any]:
        """The JSON of `/v1/models`."""
        settings = self._settings
        data = [
            self._card(name, root=settings.model, parent=None, length=settings.max_model_len)
            for name in settings.served_names
        ]
        data += [
            self._card(name, root=path, parent=settings.served_names[0], length=None)
            for name, path in self._adapters.items()
        ]
        return {"object": "list", "data": data}

    def _card(
        self, name: str, *, root: str, parent: str | None, length: int | None
    ) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": length,
            "permission": [],
        }
