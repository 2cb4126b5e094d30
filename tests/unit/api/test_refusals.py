"""What an API server refuses, `modelrouter lint` refuses too, in its own words."""

import pytest
import yaml

from modelrouter.api.manifests import Manifests, read_manifests
from refusals import RIGHT, Refusal, manifest, refusals


def said(document: object) -> str:
    manifests = Manifests()
    read_manifests(yaml.safe_dump(document), "m.yaml", manifests)
    return "\n".join(map(str, manifests.problems))


@pytest.mark.parametrize("refusal", refusals(), ids=lambda case: f"{case.kind}: {case.case}")
def test_a_wrong_manifest_is_refused(refusal: Refusal) -> None:
    assert refusal.lint in said(refusal.manifest)


@pytest.mark.parametrize("kind", RIGHT)
def test_what_the_cases_start_from_is_right(kind: str) -> None:
    assert said(manifest(kind, RIGHT[kind])) == ""


def test_a_key_given_where_a_reference_belongs_is_not_shown() -> None:
    (case,) = [refusal for refusal in refusals() if refusal.case == "the key itself"]
    assert "planted" in str(case.manifest)
    assert "planted" not in said(case.manifest)
