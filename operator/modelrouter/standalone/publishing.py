"""Manifests in, the agent's files out. What breaks is reported and the last good stays."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretBytes

from modelrouter.api.manifests import Key, Manifests, load_manifests
from modelrouter.api.metadata import DEFAULT_NAMESPACE, ObjectMeta
from modelrouter.api.problems import Problem
from modelrouter.api.router_config import RouterConfig
from modelrouter.api.secret import Secret
from modelrouter.plan.routers import plan_router, router_keys

SecretValues = Mapping[str, Mapping[str, str]]
"""Values by Secret name and key."""
Addresses = Mapping[str, Sequence[str]]
"""Addresses, `host:port`, that stand in for a pool's own."""


class RouterChoiceError(Exception):
    """The manifests hold more than one router, or not the one asked for."""


@dataclass(frozen=True, slots=True)
class RouterFiles:
    """The files that the agent reads, all in one directory."""

    directory: Path

    @property
    def config(self) -> Path:
        """The RouterConfig."""
        return self.directory / "router-config.json"

    @property
    def secrets(self) -> Path:
        """Secret values by name and key."""
        return self.directory / "secrets.json"

    @property
    def problems(self) -> Path:
        """What is wrong with the manifests, for the agent to show."""
        return self.directory / "problems.json"

    @property
    def bootstrap(self) -> Path:
        """Envoy's own configuration, which the agent writes."""
        return self.directory / "envoy.json"


@dataclass(frozen=True, slots=True)
class Draft:
    """Manifests as read, and the router among them that is to run."""

    manifests: Manifests
    key: Key
    """Namespace and name of the router."""

    @property
    def routes(self) -> int:
        """How many routes the router has."""
        namespace, router = self.key
        return sum(
            key[0] == namespace and route.spec.router == router
            for key, route in self.manifests.routes.items()
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of a draft."""

    config: RouterConfig | None
    """The configuration in force after it; None: there is none yet."""
    changed: bool
    """Whether the agent has got something new."""
    refused: bool = False
    """Whether the draft was left alone because it brought problems that were not there before."""
    problems: Sequence[Problem] = field(default_factory=tuple)
    """Everything that is wrong with the manifests as they are now."""

    @property
    def version(self) -> str:
        """Version of the configuration in force; empty: none."""
        return self.config.version if self.config else ""


class Publisher:
    """Writes what one agent reads, each file in one step."""

    def __init__(
        self,
        files: RouterFiles,
        router: str | None = None,
        namespace: str | None = None,
        extra_secrets: SecretValues | None = None,
    ) -> None:
        self._files = files
        self._router = router
        self._namespace = namespace
        self._extra_secrets = extra_secrets or {}
        self._config: RouterConfig | None = None
        self._tolerated: frozenset[tuple[str, str, str]] = frozenset()

    def read(self, paths: Sequence[Path]) -> Draft:
        """Read the manifests and choose the router."""
        manifests = load_manifests(paths)
        key = choose_router(manifests, self._router, self._namespace)
        add_secrets(manifests, key[0], self._extra_secrets)
        return Draft(manifests, key)

    def publish(self, draft: Draft, addresses: Addresses) -> Publication:
        """Write the configuration, unless the draft is worse than what is in force.

        At the start whatever can be served is served. Later a draft with a problem that was not
        there before is refused whole, because half of somebody's edit is nobody's intention.
        """
        planned = plan_router(draft.manifests, *draft.key, addresses)
        problems = [*draft.manifests.problems, *planned.problems]
        identities = frozenset((p.resource, p.field, p.message) for p in problems)
        write_atomically(self._files.problems, [_for_agent(problem) for problem in problems])
        if self._config is None:
            if not planned.config.routes:
                return Publication(None, changed=False, refused=True, problems=problems)
        elif identities - self._tolerated:
            return Publication(self._config, changed=False, refused=True, problems=problems)
        changed = self._write(planned.config, draft)
        self._config, self._tolerated = planned.config, identities
        return Publication(self._config, changed, problems=problems)

    def _write(self, config: RouterConfig, draft: Draft) -> bool:
        # Keys first: a configuration must not arrive before the keys that it names.
        new_secrets = write_atomically(self._files.secrets, secret_values(draft, config))
        return write_atomically(self._files.config, config.document()) or new_secrets


def choose_router(manifests: Manifests, router: str | None, namespace: str | None) -> Key:
    """The router that was asked for, or the only one there is."""
    found = [
        key
        for key in router_keys(manifests)
        if namespace in (None, key[0]) and router in (None, key[1])
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        if (router or namespace) and (others := router_keys(manifests)):
            names = ", ".join(f"{key[1]} in namespace {key[0]}" for key in others)
            raise RouterChoiceError(
                f"no route names router {router or 'of any name'}"
                f"{f' in namespace {namespace}' if namespace else ''}; there are: {names}"
            )
        return (namespace or DEFAULT_NAMESPACE, router or "default")
    names = ", ".join(f"{key[1]} in namespace {key[0]}" for key in found)
    raise RouterChoiceError(
        f"the routes name several routers: {names}; choose one with --router and --namespace"
    )


def add_secrets(manifests: Manifests, namespace: str, values: SecretValues) -> None:
    """Put values from outside among the Secrets; they win over the manifests' own."""
    for name, entries in values.items():
        key = (namespace, name)
        known = manifests.secrets.get(key)
        merged = {**(known.values if known else {}), **{k: v.encode() for k, v in entries.items()}}
        manifests.secrets[key] = Secret(
            api_version="v1",
            kind="Secret",
            metadata=ObjectMeta(name=name, namespace=namespace),
            string_data={entry: SecretBytes(value) for entry, value in merged.items()},
        )


def secret_values(draft: Draft, config: RouterConfig) -> dict[str, dict[str, str]]:
    """The values that the configuration's pools name, and no others."""
    values: dict[str, dict[str, str]] = {}
    for pool in config.pools.values():
        if pool.credential is None:
            continue
        secret = draft.manifests.secrets.get((draft.key[0], pool.credential.secret))
        value = secret.values.get(pool.credential.key) if secret else None
        if value is not None:
            # A file written with an editor ends in a line break, which no key does.
            text = value.decode("utf-8", "replace").strip()
            values.setdefault(pool.credential.secret, {})[pool.credential.key] = text
    return values


def write_atomically(path: Path, content: object) -> bool:
    """Replace a JSON file in one step, for this user only; False when nothing differs."""
    encoded = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        if path.read_bytes() == encoded:
            return False
    except FileNotFoundError:
        pass
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def _for_agent(problem: Problem) -> dict[str, str]:
    source = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return {
        "source": source,
        "resource": problem.resource,
        "field": problem.field,
        "message": problem.message,
    }
