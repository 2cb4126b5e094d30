"""A pool of model servers that the operator runs → the Kubernetes objects that make it up."""

from __future__ import annotations

from modelrouter.plan.vllm.children import plan_pool_children

__all__ = ["plan_pool_children"]
