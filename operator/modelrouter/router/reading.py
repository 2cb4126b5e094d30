"""RouterConfig from plain data, entry by entry, so that only what changed is validated anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modelrouter.api.problems import field_path, validation_problems
from modelrouter.api.router_config import FORMAT, PoolConfig, RouteConfig, RouterConfig
from modelrouter.router.pacing import Pacer

Entry = TypeVar("Entry", bound=BaseModel)
_Cache = dict[str, tuple[Any, Entry]]


class InvalidConfigError(Exception):
    """The document is no RouterConfig; the message names the field and what is wrong."""


class ConfigReader:
    """Validates documents and remembers their entries."""

    def __init__(self) -> None:
        self._pools: _Cache[PoolConfig] = {}
        self._routes: _Cache[RouteConfig] = {}

    async def read(self, document: Mapping[str, Any]) -> RouterConfig:
        """The document as a value. Entries that are equal to the last ones are the same objects."""
        if document.get("format") != FORMAT:
            found = document.get("format")
            raise InvalidConfigError(f"format: this agent reads {FORMAT}, the document is {found}")
        pools = await _read_entries(document, "pools", PoolConfig, self._pools)
        routes = await _read_entries(document, "routes", RouteConfig, self._routes)
        for name, route in routes.items():
            missing = sorted(set(route.pools) - pools.keys())
            if missing:
                raise InvalidConfigError(f"routes.{name}.pools: there is no pool {missing[0]}")
        self._pools = {name: (document["pools"][name], pool) for name, pool in pools.items()}
        self._routes = {name: (document["routes"][name], route) for name, route in routes.items()}
        return RouterConfig.model_construct(
            format=FORMAT,
            router=str(document.get("router", "")),
            namespace=str(document.get("namespace", "")),
            version=str(document.get("version", "")),
            pools=pools,
            routes=routes,
        )


async def _read_entries(
    document: Mapping[str, Any], section: str, model: type[Entry], cache: _Cache[Entry]
) -> dict[str, Entry]:
    raw = document.get(section)
    if not isinstance(raw, dict):
        raise InvalidConfigError(f"{section}: a mapping from name to entry is needed")
    pacer = Pacer()
    entries: dict[str, Entry] = {}
    for name, value in raw.items():
        known = cache.get(name)
        if known is not None and (known[0] is value or known[0] == value):
            entries[name] = known[1]
        else:
            try:
                entries[name] = model.model_validate(value)
            except ValidationError as error:
                location, message = validation_problems(error, model)[0]
                place = field_path((section, name, *location))
                raise InvalidConfigError(f"{place}: {message}") from None
        await pacer.breathe()
    return entries
