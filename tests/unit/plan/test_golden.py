"""Each folder of `testdata` is a case: the manifests in `in.yaml` must compile to `out.yaml`."""

from pathlib import Path

import pytest
import yaml

from modelrouter.api.manifests import Manifests, read_manifests
from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.routers import plan_router, router_keys
from unit.plan.golden import cases, check, dump

CASES = cases("testdata")


def compiled(case: Path) -> str:
    manifests = Manifests()
    read_manifests((case / "in.yaml").read_text(), "in.yaml", manifests)
    documents = []
    problems = [str(problem) for problem in manifests.problems]
    for key in router_keys(manifests):
        planned = plan_router(manifests, *key)
        problems += [str(problem) for problem in planned.problems]
        documents.append(planned.config.document())
    if problems:
        documents.append({"problems": problems})
    return dump(documents)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_manifests_compile_to_the_expected_config(
    case: Path, request: pytest.FixtureRequest
) -> None:
    check(case, compiled(case), request)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_written_config_reads_back_as_itself(case: Path) -> None:
    for document in yaml.safe_load_all((case / "out.yaml").read_text()):
        if "format" in document:
            assert RouterConfig.model_validate(document).document() == document
