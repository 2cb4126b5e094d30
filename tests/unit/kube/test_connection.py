"""Finding the cluster by a kubeconfig file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import NoClusterError, find_cluster
from modelrouter.kube.resources import CONFIG_MAPS
from unit.kube.fake import Server, listing


def kubeconfig(path: Path, server: str, **user: object) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_token_goes_with_every_request(server: Server, tmp_path: Path) -> None:
    server.say(listing(version=1))
    path = kubeconfig(tmp_path / "config", server.url, token="planted-token")
    connection = await find_cluster(path)
    async with KubeClient(connection) as client:
        await client.list(CONFIG_MAPS)
    assert server.requests[0].headers["authorization"] == "Bearer planted-token"
    assert "planted" not in repr(connection)


@pytest.mark.parametrize("content", [None, "", "[]", "a: ["])
async def test_a_file_that_is_none_is_an_error_that_names_it(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoClusterError, match=str(path)):
        await find_cluster(path)


async def test_a_certificate_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:6443")
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"]["certificate-authority"] = str(tmp_path / "ca.crt")
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(NoClusterError, match="cannot be used"):
        await find_cluster(path)


async def test_without_the_official_client_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "kubernetes.aio.client", None)
    with pytest.raises(NoClusterError, match=r"pip install .*\[kubeconfig\]"):
        await find_cluster(path)
