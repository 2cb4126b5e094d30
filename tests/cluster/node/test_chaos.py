"""A short `make chaos`: things break at random and every request is answered, whole."""

from __future__ import annotations

import pytest

from chaos.running import run_chaos
from chaos.stage import MODEL, TOLD_MODEL, Stage
from cluster.kubernetes.access import Kubernetes
from cluster.node.workloads import Workloads

SEED = 153
"""It has agents, Envoys and the API server restarted, and a pool that answers only 429."""
SECONDS = 45.0


def test_no_request_fails_while_a_pool_is_spared(
    kubernetes: Kubernetes, operator: None, workloads: Workloads
) -> None:
    if not kubernetes.is_own:
        pytest.skip("processes and the API server of somebody else's cluster are left alone")
    stage = Stage(workloads)
    run = run_chaos(
        stage, stage.set_up(), seed=SEED, seconds=SECONDS, stream_models=(MODEL, TOLD_MODEL)
    )
    print(f"\n{run}")
    assert run.verdict.holds, str(run)
    assert run.verdict.requests > SECONDS * 10, "too few requests to tell"
    assert len(run.done) > 6, "too few things were done to tell"
