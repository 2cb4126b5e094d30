"""What is known of the objects and pods of a `vllm` pool, as far as its status depends on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not serve: a reason in one word, and a line that says what to do."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class ServerPod:
    """One pod that is to stay. Pods that go or have ended are nobody's trouble."""

    name: str
    ready: bool
    fresh: bool = False
    """Ready for so short a time that routers need not have noticed."""
    trouble: Trouble | None = None
    """None: it is ready, or about to be."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What the Deployment says."""

    wanted: int
    """Its `spec.replicas`."""
    replicas: int = 0
    """Pods that it has, those of earlier versions among them."""
    updated: int = 0
    """Pods of the present version."""
    current: bool = True
    """Whether its controller has seen the present version."""
    failure: str = ""
    """Why pods cannot be created; empty: they can."""
    stuck: str = ""
    """Why a rollout has made no progress for too long; empty: it has."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """How far one LoRA adapter has got."""

    name: str
    loaded: int
    """Ready pods that have it."""
    error: str = ""
    """What vLLM, or the way to it, said last where it could not be loaded."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The objects and pods of a pool."""

    workload: Workload | None = None
    """None: there is no Deployment yet."""
    pods: tuple[ServerPod, ...] = ()
    selector: str = ""
    """Label selector of the pods."""
    problem: str = ""
    """Why the pool's objects cannot be written, for people; empty: they can."""
    adapters: tuple[Adapter, ...] = ()
