"""Manifests break under load: that is told, what was in force stays, and mending works."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import Load
from component.router.rig import Router, eventually

Edit = Callable[[str], str]


def bad_yaml(text: str) -> str:
    return text.replace("spec:", "spec: [", 1)


def bad_reference(text: str) -> str:
    return text.replace("- alpha\n", "- alhpa\n", 1)


def bad_regex(text: str) -> str:
    rule = (
        "  rules:\n  - name: mended\n    match: {headers: [{name: x-team, regex: '(legal'}]}\n"
        "    targets: [{pool: alpha}]\n"
    )
    return text.rstrip("\n") + "\n" + rule


def unknown_field(text: str) -> str:
    return text.replace("perTryTimeout:", "perTryTimeuot:", 1)


BROKEN: dict[str, tuple[Edit, str]] = {
    "YAML": (bad_yaml, ""),
    "reference": (bad_reference, "alhpa"),
    "regular expression": (bad_regex, "regular expression"),
    "field": (unknown_field, "perTryTimeout"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_manifest(router: Router, fleet: Fleet, kind: str) -> None:
    break_, word = BROKEN[kind]
    await fleet.use(router)
    manifest = router.manifests / "all.yaml"
    good = manifest.read_text()
    broken = break_(good)
    assert broken != good
    told = len(router.log.read_text())
    version = await router.version()
    with Load(router.port) as load:
        await run_for(0.2)
        replace(router, broken)

        async def problems() -> list[dict[str, str]]:
            return list((await router.readiness())["problems"])

        found = await eventually(problems)
        readiness = await router.readiness()
        await run_for(0.5)
        assert await router.version() == version
        replace(router, good.replace("temperature", "top_k", 1))  # Gamma drops another one.

        async def mended() -> bool:
            return not await problems() and await router.version() != version

        await eventually(mended)
        replace(router, good)
        await eventually(lambda: same(router, version))
    load.assert_none_failed()
    assert load.is_served_by("alpha", 0)
    assert readiness["ready"], "it goes on serving, so it stays ready"
    text = str(found)
    assert re.search(rf"{re.escape(str(manifest))}:\d+", text), text
    assert word in text, text
    log = router.log.read_text()[told:]
    assert re.search(rf"not applied.*{re.escape(str(manifest))}:\d+", log, re.DOTALL), log
    assert word in log
    assert "in order again" in log


async def test_the_manifests_are_deleted(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    manifest = router.manifests / "all.yaml"
    good = manifest.read_text()
    told = len(router.log.read_text())
    version = await router.version()

    async def told_of() -> dict[str, Any] | None:
        readiness = await router.readiness()
        return readiness if readiness["problems"] else None

    with Load(router.port) as load:
        await run_for(0.2)
        manifest.unlink()
        await eventually(lambda: "not applied" in router.log.read_text()[told:])
        # The agent looks for what the supervisor has to say a few times a second.
        readiness = await eventually(told_of)
        await run_for(0.7)
        assert await router.version() == version
        replace(router, good)

        async def mended() -> bool:
            return not (await router.readiness())["problems"]

        await eventually(mended)
        await run_for(0.3)
    load.assert_none_failed()
    assert readiness["ready"]
    assert await router.version() == version


async def same(router: Router, version: str) -> bool:
    return await router.version() == version


def replace(router: Router, text: str) -> None:
    """As an editor saves: a new file in the place of the old one."""
    draft = router.manifests.parent / "draft"
    draft.write_text(text)
    draft.replace(router.manifests / "all.yaml")


async def test_no_half_written_manifest_counts(router: Router, fleet: Fleet) -> None:
    """Somebody writes in place, slowly: what is not whole yet is not taken for an edit."""
    await fleet.use(router)
    manifest = router.manifests / "all.yaml"
    good = manifest.read_text()
    told = len(router.log.read_text())
    with Load(router.port) as load, manifest.open("w") as file:
        for start in range(0, len(good), len(good) // 8):
            file.write(good[start : start + len(good) // 8])
            file.flush()
            await asyncio.sleep(0.05)
    load.assert_none_failed()
    assert "not applied" not in router.log.read_text()[told:]
