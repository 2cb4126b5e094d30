"""Manifests in, the agent's files out. What breaks is reported and the last good stays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretBytes

from modelrouter.api.manifests import Key, Manifests, load_manifests
from modelrouter.api.metadata import ObjectMeta
from modelrouter.api.pool import ModelPool, Source
from modelrouter.api.pool_name import pool_of
from modelrouter.api.problems import Problem
from modelrouter.api.router_config import RouterConfig
from modelrouter.api.secret import Secret
from modelrouter.files import replace_file
from modelrouter.plan.routers import UnknownRouterError, choose_router, plan_router

SecretValues = Mapping[str, Mapping[str, str]]
"""Values by Secret name and key."""
Addresses = Mapping[str, Sequence[str]]
"""Addresses, `host:port`, that stand in for a pool's own."""


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
    key: Key | None
    """Namespace and name of the router; None: the manifests leave that open."""

    @property
    def pools(self) -> dict[str, ModelPool]:
        """The pools that the router's routes may use."""
        if self.key is None:
            return {}
        namespace, router = self.key
        used = {
            name
            for key, route in self.manifests.routes.items()
            if key[0] == namespace and route.spec.router == router
            for name in route.spec.model_pools
        }
        pools = self.manifests.pools
        return {name: pools[namespace, name] for name in used if (namespace, name) in pools}


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
    canaries: Sequence[str] = ()
    """Routes in force with a canary: it does not go on, for only the operator does that."""

    @property
    def version(self) -> str:
        """Version of the configuration in force; empty: none."""
        return self.config.version if self.config else ""


class Publisher:
    """Writes what one agent reads, each file in one step."""

    def __init__(
        self,
        files: RouterFiles,
        router: str = "",
        namespace: str = "",
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
        try:
            key = choose_router(manifests, self._namespace, self._router)
        except UnknownRouterError as error:
            # Routes that cannot be read have been reported with their place already.
            if manifests.routes or not manifests.problems:
                manifests.problems.append(Problem(str(error)))
            return Draft(manifests, None)
        add_secrets(manifests, key[0], self._extra_secrets)
        return Draft(manifests, key)

    def publish(self, draft: Draft, addresses: Addresses) -> Publication:
        """Write the configuration, unless the draft is worse than what is in force.

        At the start whatever can be served is served. Later a draft with a problem that was not
        there before is refused whole, because half of somebody's edit is nobody's intention.
        """
        problems = list(draft.manifests.problems)
        planned = None
        if draft.key is not None:
            planned = plan_router(draft.manifests, *draft.key, addresses)
            problems += planned.problems
            problems += unreachable_pools(draft.manifests, planned.config)
        write_json(self._files.problems, [_for_agent(problem) for problem in problems])
        if planned is None or not self._is_acceptable(planned.config, problems):
            return Publication(self._config, changed=False, refused=True, problems=problems)
        changed = self._write(planned.config, draft)
        self._config, self._tolerated = planned.config, _identities(problems)
        canaries = _routes_with_canary(draft)
        return Publication(self._config, changed, problems=problems, canaries=canaries)

    def accepts(self, draft: Draft) -> bool:
        """Whether `publish` would put the draft in force, given addresses for all its pools."""
        if draft.key is None:
            return False
        planned = plan_router(draft.manifests, *draft.key)
        problems = [*draft.manifests.problems, *planned.problems]
        return self._is_acceptable(planned.config, problems)

    def _is_acceptable(self, config: RouterConfig, problems: Sequence[Problem]) -> bool:
        is_worse = self._config is not None and _identities(problems) - self._tolerated
        return bool(config.routes) and not is_worse

    def _write(self, config: RouterConfig, draft: Draft) -> bool:
        # Keys first: a configuration must not arrive before the keys that it names.
        new_secrets = write_json(self._files.secrets, secret_values(draft, config))
        return write_json(self._files.config, config.document()) or new_secrets


_ONLY_IN_A_CLUSTER: Mapping[Source, str] = {
    "service": "a Service is only found inside its cluster",
    "vllm": "model servers are only run in a cluster, by the operator",
}


def unreachable_pools(manifests: Manifests, config: RouterConfig) -> list[Problem]:
    """Pools whose endpoints only a cluster knows."""
    names = {pool_of(name) for name, pool in config.pools.items() if pool.service is not None}
    found = []
    for name in sorted(names):
        key = (config.namespace, name)
        source = manifests.pools[key].spec.source
        text = (
            f"{_ONLY_IN_A_CLUSTER[source]}; name endpoints here, or simulate the pool with "
            "--simulate. Until then no request is sent to this pool"
        )
        found.append(manifests.locate("ModelPool", key, ("spec", source), text))
    return found


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
        secret = draft.manifests.secrets.get((config.namespace, pool.credential.secret))
        value = secret.values.get(pool.credential.key) if secret else None
        if value is not None:
            # A file written with an editor ends in a line break, which no key does.
            text = value.decode("utf-8", "replace").strip()
            values.setdefault(pool.credential.secret, {})[pool.credential.key] = text
    return values


def write_json(path: Path, content: object) -> bool:
    """Replace a JSON file in one step, for this user only; False when nothing differs."""
    encoded = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    try:
        if path.read_bytes() == encoded:
            return False
    except FileNotFoundError:
        pass
    replace_file(path, encoded)
    return True


def _identities(problems: Sequence[Problem]) -> frozenset[tuple[str, str, str]]:
    """What makes problems the same after lines were added above them."""
    return frozenset((problem.resource, problem.field, problem.message) for problem in problems)


def _for_agent(problem: Problem) -> dict[str, str]:
    source = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return {
        "source": source,
        "resource": problem.resource,
        "field": problem.field,
        "message": problem.message,
    }


def _routes_with_canary(draft: Draft) -> list[str]:
    return sorted(
        f"ModelRoute {'/'.join(key)}"
        for key, route in draft.manifests.routes.items()
        if draft.key == (key[0], route.spec.router) and route.spec.canary is not None
    )
