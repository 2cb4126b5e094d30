"""Manifests become the agent's files; what breaks is reported and the last good stays."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from modelrouter.standalone.publishing import Publication, Publisher, RouterFiles, write_json

POOLS = """
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {name: small}
spec: {model: small-model, endpoints: ["127.0.0.1:9001"]}
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {name: provider}
spec:
  model: large-model
  provider:
    kind: OpenAICompatible
    baseUrl: https://api.provider.example/v1
    credentials: {secretRef: {name: provider, key: api-key}}
"""
SERVICE = "service: {name: tgi, port: 8080}"
ROUTE = """
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {name: chat}
spec:
  models: [chat]
  pools: [small, provider]
  rules:
  - name: default
    targets: [{pool: small, weight: 90}, {pool: provider, weight: 10}]
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: provider}
stringData: {api-key: "the-key\\n", other: unused}
"""


class Desk:
    """A folder of manifests and what becomes of it."""

    def __init__(self, root: Path, **choices: str) -> None:
        self.manifests = root / "manifests"
        self.files = RouterFiles(root / "run")
        self.manifests.mkdir()
        self.files.directory.mkdir()
        self.publisher = Publisher(self.files, **choices)
        self.write("pools.yaml", POOLS)
        self.write("route.yaml", ROUTE)
        self.write("secret.yaml", SECRET)

    def write(self, name: str, text: str) -> None:
        (self.manifests / name).write_text(text)

    def publish(self, addresses: dict[str, list[str]] | None = None) -> Publication:
        draft = self.publisher.read([self.manifests])
        accepted = self.publisher.accepts(draft)
        publication = self.publisher.publish(draft, addresses or {})
        assert publication.refused is not accepted
        return publication

    @property
    def config(self) -> dict[str, object]:
        return json.loads(self.files.config.read_text())

    @property
    def problems(self) -> list[dict[str, str]]:
        return json.loads(self.files.problems.read_text())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_good_manifests_become_the_agents_files(desk: Desk):
    publication = desk.publish()
    assert publication.changed
    assert not publication.refused
    assert desk.config["version"] == publication.version
    assert desk.problems == []


def test_only_the_keys_that_pools_name_are_written_without_their_line_break(desk: Desk):
    desk.publish()
    assert json.loads(desk.files.secrets.read_text()) == {"provider": {"api-key": "the-key"}}
    assert stat.S_IMODE(desk.files.secrets.stat().st_mode) == 0o600
    assert "the-key" not in desk.files.config.read_text()


def test_nothing_is_written_when_nothing_changed(desk: Desk):
    desk.publish()
    before = desk.files.config.stat().st_ino
    assert not desk.publish().changed
    assert desk.files.config.stat().st_ino == before


def test_a_canary_is_no_problem_but_does_nothing_here(desk: Desk):
    before = desk.publish()
    assert not before.canaries
    canary = "canary: {rule: default, from: small, to: provider, steps: [{weight: 50}]}"
    desk.write("route.yaml", ROUTE + f"  {canary}\n")
    publication = desk.publish()
    assert publication.problems == []
    assert list(publication.canaries) == ["ModelRoute default/chat"]
    assert publication.version == before.version


def test_a_new_key_is_a_change(desk: Desk):
    version = desk.publish().version
    desk.write("secret.yaml", SECRET.replace("the-key", "another-key"))
    publication = desk.publish()
    assert publication.changed
    assert publication.version == version


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("weight: 90", "weigth: 90", "route.yaml:10", 'did you mean "weight"'),
        ("models: [chat]", "models: [chat", "route.yaml:7", "not valid YAML"),
        ("pools: [small,", "pools: [tiny, small,", "route.yaml:7", "no ModelPool default/tiny"),
        (
            "  rules:\n",
            "  rules:\n  - {name: r, targets: [{pool: small}], "
            "match: {headers: [{name: x-a, regex: '('}]}}\n",
            "route.yaml:9",
            "not a regular expression",
        ),
    ],
)
def test_what_breaks_is_refused_with_its_place_and_the_last_good_stays(
    desk: Desk, old: str, new: str, place: str, message: str
):
    good = desk.publish()
    before = desk.files.config.read_text()
    desk.write("route.yaml", ROUTE.replace(old, new))
    publication = desk.publish()
    assert publication.refused
    assert publication.version == good.version
    assert desk.files.config.read_text() == before
    found = [p for p in desk.problems if message in p["message"]]
    assert found, desk.problems
    assert found[0]["source"].endswith(place)
    desk.write("route.yaml", ROUTE)
    assert not desk.publish().refused
    assert desk.problems == []


def test_a_removed_key_does_not_take_the_pool_out_of_service(desk: Desk):
    desk.publish()
    (desk.manifests / "secret.yaml").unlink()
    assert desk.publish().refused
    assert "the-key" in desk.files.secrets.read_text()


def test_at_the_start_what_can_be_served_is_served(desk: Desk):
    desk.write("route.yaml", ROUTE.replace("pools: [small,", "pools: [tiny, small,"))
    publication = desk.publish()
    assert not publication.refused
    assert len(publication.problems) == 1


def test_an_edit_is_applied_beside_a_problem_that_was_there_before(desk: Desk):
    broken = ROUTE.replace("pools: [small,", "pools: [tiny, small,")
    desk.write("route.yaml", broken)
    first = desk.publish()
    desk.write("route.yaml", "# a comment\n" + broken.replace("weight: 90", "weight: 50"))
    second = desk.publish()
    assert second.changed
    assert second.version != first.version
    desk.write("route.yaml", broken.replace("weight: 50", "weight: -1"))
    desk.write("other.yaml", "nonsense: true")
    assert desk.publish().refused


def test_nothing_to_serve_is_refused(desk: Desk):
    (desk.manifests / "route.yaml").unlink()
    publication = desk.publish()
    assert publication.refused
    assert publication.config is None
    assert "no ModelRoute" in str(publication.problems[0])


def test_removing_every_route_keeps_the_last_good(desk: Desk):
    good = desk.publish()
    desk.write("route.yaml", "")
    publication = desk.publish()
    assert publication.refused
    assert publication.version == good.version


def test_addresses_take_the_place_of_a_pools_own(desk: Desk):
    publication = desk.publish({"provider": ["127.0.0.1:9099"]})
    assert publication.config is not None
    assert publication.config.pools["provider"].addresses == ["127.0.0.1:9099"]
    assert publication.config.pools["provider"].upstream is None


def test_secrets_from_the_environment_win(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.publisher = Publisher(
        desk.files, extra_secrets={"provider": {"api-key": "from-the-environment"}}
    )
    desk.publish()
    assert json.loads(desk.files.secrets.read_text()) == {
        "provider": {"api-key": "from-the-environment"}
    }
    (desk.manifests / "secret.yaml").unlink()
    publication = desk.publish()
    assert not publication.refused
    assert publication.problems == []


def test_several_routers_have_to_be_chosen_from(desk: Desk):
    other = ROUTE.replace("name: chat", "name: other").replace("[chat]", "[other]")
    desk.write("other.yaml", other.replace("spec:", "spec:\n  router: batch"))
    publication = desk.publish()
    assert publication.refused
    assert "--router" in str(publication.problems[0])
    desk.publisher = Publisher(desk.files, router="batch")
    publication = desk.publish()
    assert publication.config is not None
    assert list(publication.config.routes) == ["other"]


def test_the_pools_of_a_draft_are_those_its_routes_may_use(desk: Desk):
    spare = POOLS.partition("---")[0].replace("small", "spare")
    desk.write("spare.yaml", spare)
    assert set(desk.publisher.read([desk.manifests]).pools) == {"small", "provider"}


def test_a_service_outside_its_cluster_is_a_problem_unless_it_is_simulated(desk: Desk):
    before = desk.publish()
    desk.write("pools.yaml", POOLS.replace('endpoints: ["127.0.0.1:9001"]', SERVICE))
    draft = desk.publisher.read([desk.manifests])
    assert desk.publisher.accepts(draft)
    publication = desk.publisher.publish(draft, {})
    assert publication.refused
    assert publication.version == before.version
    (problem,) = publication.problems
    assert str(problem).endswith(
        "pools.yaml:5: ModelPool default/small: spec.service: a Service is only found inside its "
        "cluster; name endpoints here, or simulate the pool with --simulate. Until then no "
        "request is sent to this pool"
    )
    publication = desk.publisher.publish(draft, {"small": ["127.0.0.1:20000"]})
    assert not publication.refused
    assert publication.config is not None
    assert publication.config.pools["small"].addresses == ["127.0.0.1:20000"]
    assert publication.config.pools["small"].service is None


VLLM = """vllm: {
    image: "vllm/vllm-openai:v0.33.0", source: "pvc://models",
    autoscaling: {minReplicas: 0, maxReplicas: 2, target: {runningRequests: 1}},
    loraAdapters: [{name: support-de, source: "hf://acme/support-de"}]
  }"""


def test_model_servers_are_run_in_a_cluster_only_and_said_so_once(desk: Desk):
    route = ROUTE.replace("pools: [small", "pools: [small/support-de, small")
    assert route != ROUTE
    desk.write("route.yaml", route)
    desk.write("pools.yaml", POOLS.replace('endpoints: ["127.0.0.1:9001"]', VLLM))
    draft = desk.publisher.read([desk.manifests])
    publication = desk.publisher.publish(draft, {})
    (problem,) = publication.problems
    assert str(problem).endswith(
        "pools.yaml:5: ModelPool default/small: spec.vllm: model servers are only run in a "
        "cluster, by the operator; name endpoints here, or simulate the pool with --simulate. "
        "Until then no request is sent to this pool"
    )
    publication = desk.publisher.publish(draft, {"small": ["127.0.0.1:20000"]})
    assert publication.problems == []
    assert publication.config is not None
    pools = publication.config.pools
    assert pools["small"].addresses == ["127.0.0.1:20000"]
    assert pools["small/support-de"].addresses == ["127.0.0.1:20000"]
    assert pools["small/support-de"].model == "support-de"
    # Nobody would start a server for a request that waits.
    assert pools["small"].scaling is None


def test_a_failed_write_leaves_neither_half_a_file_nor_a_stray_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "x.json"
    write_json(file, {"a": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(file, {"a": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert json.loads(file.read_text()) == {"a": 1}
