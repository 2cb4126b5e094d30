"""What one simulated server is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VLLM_VERSION = "0.32.0"
"""The vLLM release whose behaviour is imitated; `/version` reports it."""


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulated server. Times are in the unit that the field's name ends with."""

    model: str
    """The model, as vLLM's `--model`: a hub name or a path. `/v1/models` shows it as `root`."""

    host: str = "127.0.0.1"
    """Address to listen on. vLLM listens on every address unless told; a laptop should not."""

    port: int = 8000
    """TCP port to listen on; 0 takes a free one."""

    served_model_names: tuple[str, ...] = ()
    """Names a request may use; the first is the one in answers and metrics. Empty: `model`."""

    label: str = ""
    """Name of this server among its like; returned as `system_fingerprint` and in `/_simulate`."""

    first_token_ms: float = 40.0
    """Milliseconds from admission to the first token of a prompt that is not in the cache."""

    per_token_ms: float = 8.0
    """Milliseconds from one token to the next."""

    prefill_ms_per_1k_tokens: float = 0.0
    """Milliseconds that every 1,000 prompt tokens outside the prefix cache add to the first.
    Prompts are read one after the other, as an engine shares its speed among them."""

    tokens: int = 24
    """Tokens in an answer that no limit cuts shorter."""

    embedding_dimensions: int = 256
    """Length of an embedding when the request asks for no other."""

    fail_rate: float = 0.0
    """Share of requests, 0 to 1, that are answered with `fail_status`."""

    fail_status: int = 500
    """HTTP status of a failed request."""

    faults: Mapping[str, Any] = field(default_factory=dict)
    """The fault plan in force from the start: the fields that `POST /_simulate` takes."""

    death_s: float = 2.0
    """Seconds from the death of the engine, a fault, to the end of the process. vLLM looks
    after its engine every 5 seconds."""

    seed: int = 0
    """Fixes texts, vectors and the sequence of failures."""

    load_time_s: float = 0.0
    """Seconds before the port opens. vLLM does not listen until its model is loaded."""

    load_error: str = ""
    """Why the model cannot be loaded: logged after the load time, then the process ends with
    status 1. Empty: it can."""

    download_s: float = 0.0
    """Seconds that come before the load time when `cache` does not have the model yet."""

    cache: str = ""
    """Directory that keeps downloaded models, as HF_HOME; used only if downloading takes time.
    Empty: every start downloads."""

    shutdown_timeout_s: float = 0.0
    """Seconds that open requests get to finish after SIGTERM. 0: their streams stop, unfinished,
    and stay open until the client leaves, as vLLM's do."""

    keep_alive_s: float = 5.0
    """Seconds an idle connection is kept; 5 is uvicorn's and so vLLM's default."""

    max_model_len: int = 131_072
    """Context window: tokens of prompt and answer together."""

    max_num_seqs: int = 256
    """Requests that run at once; more of them wait."""

    kv_blocks: int = 65_536
    """Blocks in the key-value cache; a request that does not fit waits."""

    block_size: int = 16
    """Tokens in one block of the key-value cache."""

    prefix_caching: bool = True
    """Whether prompt prefixes seen before shorten the time to the first token."""

    prompt_tokens_details: bool = False
    """Whether `usage` says how many prompt tokens came from the prefix cache."""

    request_id_headers: bool = False
    """Whether answers carry `X-Request-Id`, the request's own or a new one."""

    api_keys: tuple[str, ...] = ()
    """Keys of which a request under `/v1` must bring one. Empty: none is asked for."""

    lora_modules: tuple[tuple[str, str], ...] = ()
    """LoRA adapters loaded from the start: (name, path)."""

    lora: bool = False
    """Whether the engine takes adapters at all."""

    runtime_lora: bool = False
    """Whether there are paths to load and unload adapters while the server runs."""

    adapter_load_s: float = 0.0
    """Seconds that loading an adapter at run time takes."""

    missing_adapters: tuple[str, ...] = ()
    """Paths of adapters that do not exist; loading them fails."""

    control: bool = True
    """Whether `/_simulate` exists: faults at run time, and the requests received."""

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that requests may use, never empty."""
        return self.served_model_names or (self.model,)
