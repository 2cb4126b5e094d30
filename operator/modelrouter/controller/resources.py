"""One ModelRoute or ModelPool as it was read: its model, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from modelrouter.api.canary_status import CanaryStatus, read_canary_status
from modelrouter.api.manifests import Key
from modelrouter.api.pool import ModelPool
from modelrouter.api.problems import Problem, field_path, validation_problems
from modelrouter.api.route import ModelRoute
from modelrouter.controller.store import Object, key_of, own_fields_only, version_of

FIELD_MANAGER = "model-router-operator"
"""Under this name the operator owns the fields that it applies."""

_READ_METADATA = ("name", "namespace", "uid", "generation", "creationTimestamp")

Model = TypeVar("Model", ModelRoute, ModelPool)


@dataclass(frozen=True, slots=True)
class Resource(Generic[Model]):
    """A resource of ours. A new generation makes a new model, anything else keeps the old one."""

    key: Key
    uid: str
    generation: int
    version: int
    """resourceVersion as a number."""
    model: Model | None
    problems: tuple[Problem, ...]
    """Why there is no model."""
    live: Object
    """Metadata and status as they are in the cluster; of the ownership records only our own."""
    router: str = ""
    """For routes: the router named, even where the rest cannot be read."""
    canary: CanaryStatus | None = None
    """For routes that have a canary: how far it got, by the status in the cluster."""

    def same_spec(self, other: Resource[Model]) -> bool:
        """Whether the two say the same, apart from metadata and status."""
        return self.uid == other.uid and self.generation == other.generation

    def same_split(self, other: Resource[Model]) -> bool:
        """Whether the canaries of the two send as many requests the same way."""
        return _split(self.canary) == _split(other.canary)


def read_resource(
    obj: Object, model: type[Model], known: Resource[Model] | None = None
) -> Resource[Model]:
    """Read an object of the API server; `known` is what it was before, to be built upon."""
    metadata = obj["metadata"]
    uid, generation = str(metadata.get("uid", "")), int(metadata.get("generation", 0))
    live = own_fields_only({k: v for k, v in obj.items() if k != "spec"}, FIELD_MANAGER)
    if known is not None and (uid, generation) == (known.uid, known.generation):
        parsed, problems, router = known.model, known.problems, known.router
    else:
        parsed, problems = _parse(obj, model)
        router = _router(obj, parsed)
    return Resource(
        key=key_of(obj),
        uid=uid,
        generation=generation,
        version=version_of(obj),
        model=parsed,
        problems=problems,
        live=live,
        router=router,
        canary=_canary(live, parsed, known),
    )


def _canary(
    live: Object, parsed: ModelRoute | ModelPool | None, known: Resource[Any] | None
) -> CanaryStatus | None:
    if not isinstance(parsed, ModelRoute) or parsed.spec.canary is None:
        return None
    document = (live.get("status") or {}).get("canary")
    if known is not None and known.canary is not None:
        before = (known.live.get("status") or {}).get("canary")
        if document == before:
            return known.canary
    return read_canary_status(document)


def _split(canary: CanaryStatus | None) -> tuple[object, ...]:
    return (canary.id, canary.phase, canary.weight) if canary is not None else ()


def _parse(obj: Object, model: type[Model]) -> tuple[Model | None, tuple[Problem, ...]]:
    metadata = {k: v for k, v in obj["metadata"].items() if k in _READ_METADATA}
    data = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata": metadata,
        "spec": obj.get("spec"),
    }
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        found = validation_problems(error, model)
        resource = f"{obj.get('kind')} {'/'.join(key_of(obj))}"
        return None, tuple(Problem(text, resource, field_path(place)) for place, text in found)


def _router(obj: Object, parsed: ModelRoute | ModelPool | None) -> str:
    if isinstance(parsed, ModelRoute):
        return parsed.spec.router
    spec: Any = obj.get("spec")
    name = spec.get("router") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else "default"
