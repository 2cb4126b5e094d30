"""What one simulated server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass

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
    """Milliseconds that every 1,000 prompt tokens outside the prefix cache add to the first."""

    tokens: int = 24
    """Tokens in an answer that no limit cuts shorter."""

    embedding_dimensions: int = 256
    """Length of an embedding when the request asks for no other."""

    fail_rate: float = 0.0
    """Share of requests, 0 to 1, that are answered with `fail_status`."""

    fail_status: int = 500
    """HTTP status of a failed request."""

    seed: int = 0
    """Fixes texts, vectors and the sequence of failures."""

    load_time_s: float = 0.0
    """Seconds before the port opens. vLLM does not listen until its model is loaded."""

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

    runtime_lora: bool = False
    """Whether adapters may be loaded and unloaded while the server runs."""

    control: bool = True
    """Whether `/_simulate` exists: faults at run time, and the requests received."""

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that requests may use, never empty."""
        return self.served_model_names or (self.model,)
