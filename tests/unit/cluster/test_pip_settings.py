"""The machine's package index, as an image build gets it."""

from __future__ import annotations

import configparser
from pathlib import Path

from cluster.kubernetes.pip_settings import as_file, folders, parse

LISTED = """
:env:.cert='/certificates/all.crt'
:env:.disable-pip-version-check='1'
global.cert='/certificates/old.crt'
global.index-url='https://user:it%27s@mirror.example/simple'
install.extra-index-url='https://one.example https://two.example'
global.user='true'
"""


def test_the_environment_wins_and_only_where_packages_come_from_is_kept() -> None:
    assert parse(LISTED) == {
        "cert": "/certificates/all.crt",
        "index-url": "https://user:it%27s@mirror.example/simple",
        "extra-index-url": "https://one.example https://two.example",
    }


def test_the_file_says_the_same() -> None:
    settings = parse(LISTED)
    read = configparser.RawConfigParser()
    read.read_string(as_file(settings))
    assert {key: " ".join(value.split()) for key, value in read["global"].items()} == settings


def test_without_settings_the_file_is_empty() -> None:
    assert parse("") == {}
    assert as_file({}) == "[global]\n"


def test_folders_that_exist_are_mounted(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (tmp_path / "all.crt").touch()
    settings = {
        "cert": str(tmp_path / "all.crt"),
        "find-links": f"file://{wheels} https://elsewhere.example/ {tmp_path}/missing",
    }
    assert folders(settings) == [tmp_path, wheels]
