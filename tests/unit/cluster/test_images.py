"""What an image is made from, by the Dockerfile; where Debian comes from, by the machine."""

from __future__ import annotations

import pytest

from cluster.kubernetes.debian import base_archive, mirror
from cluster.kubernetes.images import ROOT, base_name
from cluster.kubernetes.problems import ClusterError


def test_both_stages_of_the_dockerfile_start_from_one_base() -> None:
    assert base_name((ROOT / "Dockerfile").read_text()) == "docker.io/library/python:3.11-slim"


def test_a_stage_is_no_base() -> None:
    text = "FROM --platform=linux/amd64 one:1 AS build\nRUN x\nfrom build as tested\nFROM one:1\n"
    assert base_name(text) == "one:1"


def test_two_bases_are_refused_by_name() -> None:
    with pytest.raises(ClusterError, match="one:1, two:2"):
        base_name("FROM one:1 AS build\nFROM two:2\n")


def test_another_python_than_debians_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"python:3\.12-slim.*has Python 3\.11"):
        base_archive("docker.io/library/python:3.12-slim")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([], "http://deb.debian.org/debian"),
        (["deb https://mirror.example/debian/ bookworm main"], "https://mirror.example/debian"),
        (["# URIs: http://old.example/debian\nURIs: http://a.example/debian\n"],
         "http://a.example/debian"),
        (["deb https://deb.nodesource.com/node_20.x nodistro main"],
         "http://deb.debian.org/debian"),
        (["URIs: http://deb.debian.org/debian-security"], "http://deb.debian.org/debian"),
    ],
)  # fmt: skip
def test_debian_comes_from_where_the_machine_has_it(sources: list[str], expected: str) -> None:
    assert mirror(sources) == expected
