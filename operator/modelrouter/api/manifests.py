"""Manifests: YAML files read into resources, with the file and line of everything that is wrong.

Nothing is lost on bad input: each document stands for itself, so one that is broken costs only
what it describes, and every problem found is reported, not just the first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from modelrouter.api.metadata import API_VERSION, DEFAULT_NAMESPACE
from modelrouter.api.pool import ModelPool
from modelrouter.api.problems import Problem, field_path, validation_problems
from modelrouter.api.route import ModelRoute
from modelrouter.api.secret import Secret

Resource = ModelPool | ModelRoute | Secret
Key = tuple[str, str]
"""Namespace and name."""

_MODELS: dict[tuple[str, str], type[Resource]] = {
    (API_VERSION, "ModelPool"): ModelPool,
    (API_VERSION, "ModelRoute"): ModelRoute,
    ("v1", "Secret"): Secret,
}
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a resource was read: able to tell the line of any of its fields."""

    file: str
    node: yaml.Node

    def line(self, location: Iterable[int | str]) -> int:
        """The line, from 1, of the field at a location, or of its nearest parent that exists."""
        node: yaml.Node = self.node
        line = node.start_mark.line
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line
        return line + 1


@dataclass(slots=True)
class Manifests:
    """Everything that a set of files says."""

    pools: dict[Key, ModelPool] = field(default_factory=dict)
    routes: dict[Key, ModelRoute] = field(default_factory=dict)
    secrets: dict[Key, Secret] = field(default_factory=dict)
    sources: dict[tuple[str, Key], Source] = field(default_factory=dict)
    """Where each resource came from, by kind and key."""
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Objects of other kinds, which are none of this project's business."""

    def locate(self, kind: str, key: Key, location: tuple[int | str, ...], text: str) -> Problem:
        """A problem with a resource of these manifests, with file and line filled in."""
        source = self.sources.get((kind, key))
        return Problem(
            text,
            resource=f"{kind} {key[0]}/{key[1]}",
            field=field_path(location),
            file=source.file if source else "",
            line=source.line(location) if source else 0,
        )


def load_manifests(paths: Sequence[Path]) -> Manifests:
    """Read files and, like `kubectl apply -f`, the YAML and JSON files directly in directories."""
    manifests = Manifests()
    for path in manifest_files(paths, manifests.problems):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            manifests.problems.append(Problem(f"cannot be read: {reason}", file=str(path)))
            continue
        read_manifests(text, str(path), manifests)
    return manifests


def manifest_files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    """The files that the paths stand for, in order; a path that leads nowhere is a problem."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file())
            if not found:
                problems.append(Problem("holds no .yaml, .yml or .json file", file=str(path)))
            files += found
        elif path.exists():
            files.append(path)
        else:
            problems.append(Problem("there is no such file or directory", file=str(path)))
    return files


def read_manifests(text: str, file: str, manifests: Manifests) -> None:
    """Read the YAML documents of one file into `manifests`."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                _read_document(node, loader, file, manifests)
    except yaml.YAMLError as error:
        # The mark's own text shows the source line, which may hold a key: only say where.
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "it cannot be parsed"
        line = mark.line + 1 if mark else 0
        manifests.problems.append(Problem(f"not valid YAML: {what}", file=file, line=line))
    finally:
        loader.dispose()


def _read_document(node: yaml.Node, loader: _Loader, file: str, manifests: Manifests) -> None:
    source = Source(file, node)
    try:
        data = loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else source.line(())
        message = f"not valid YAML: {error.problem or 'a value cannot be read'}"
        manifests.problems.append(Problem(message, file=file, line=line))
        return
    if data is None:
        return
    if not isinstance(data, dict):
        message = "a manifest is a mapping with apiVersion, kind and metadata"
        manifests.problems.append(Problem(message, file=file, line=source.line(())))
        return
    if data.get("kind") == "List" and isinstance(data.get("items"), list):
        items = _child(node, "items")
        for index, item in enumerate(data["items"]):
            child = _child(items[1], index) if items else None
            _read_object(item, Source(file, child[1]) if child else source, manifests)
        return
    _read_object(data, source, manifests)


def _read_object(data: Any, source: Source, manifests: Manifests) -> None:
    if not isinstance(data, dict):
        message = "a manifest is a mapping with apiVersion, kind and metadata"
        manifests.problems.append(Problem(message, file=source.file, line=source.line(())))
        return
    api_version, kind = str(data.get("apiVersion", "")), str(data.get("kind", ""))
    metadata = data.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    model = _MODELS.get((api_version, kind))
    if model is None:
        _report_other_kind(api_version, kind, f"{kind} {name}".strip(), source, manifests)
        return
    data = _text_keys(data)
    try:
        resource, wrong = model.model_validate(data), []
    except ValidationError as error:
        resource, wrong = None, validation_problems(error, model)
    if api_version == API_VERSION:
        wrong += _empty_fields(data.get("spec"), {location for location, _ in wrong})
    if wrong or resource is None:
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        label = f"{kind} {namespace or DEFAULT_NAMESPACE}/{name or '?'}"
        for location, message in wrong:
            line = source.line(location)
            path = field_path(location)
            manifests.problems.append(Problem(message, label, path, source.file, line))
        return
    key = (resource.metadata.namespace, resource.metadata.name)
    earlier = manifests.sources.get((kind, key))
    if earlier is not None:
        place = f"{earlier.file}:{earlier.line(())}"
        message = f"there is one of this name already in {place}; this one is ignored"
        line = source.line(("metadata", "name"))
        label = f"{kind} {key[0]}/{key[1]}"
        manifests.problems.append(Problem(message, label, "metadata.name", source.file, line))
        return
    manifests.sources[(kind, key)] = source
    if isinstance(resource, ModelPool):
        manifests.pools[key] = resource
    elif isinstance(resource, ModelRoute):
        manifests.routes[key] = resource
    else:
        manifests.secrets[key] = resource


def _empty_fields(
    spec: Any, known: Collection[tuple[int | str, ...]]
) -> list[tuple[tuple[int | str, ...], str]]:
    """Fields without a value, which an API server refuses, other than those known as wrong."""
    found: list[tuple[tuple[int | str, ...], str]] = []

    def look(value: Any, location: tuple[int | str, ...]) -> None:
        if value is None and location not in known:
            found.append((location, "this field is empty; give it a value or leave it out"))
        elif isinstance(value, dict):
            for key, item in value.items():
                look(item, (*location, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                look(item, (*location, index))

    look(spec, ("spec",))
    return found


def _report_other_kind(
    api_version: str, kind: str, label: str, source: Source, manifests: Manifests
) -> None:
    ours = sorted(known for version, known in _MODELS if version == API_VERSION)
    is_ours = api_version.startswith("modelrouter.dev/") or kind in ours
    if api_version and kind and not is_ours:
        manifests.ignored.append(f"{source.file}:{source.line(())}: {label}")
        return
    if kind in ours or (not api_version and not kind):
        location, message = "apiVersion", f"write apiVersion: {API_VERSION} and the kind"
    else:
        location, message = "kind", f"unknown kind {kind!r}; known: {', '.join(ours)}"
    line = source.line((location,))
    manifests.problems.append(Problem(message, label, location, source.file, line))


def _text_keys(value: Any) -> Any:
    """The same data with every key as text: YAML keys may be numbers or booleans."""
    if isinstance(value, dict):
        return {str(key): _text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text_keys(item) for item in value]
    return value


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key node and value node of a field or item (an item is its own key)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part or (str(part) in ("True", "False") and "bool" in key.tag):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


class _Loader(yaml.CSafeLoader):
    """The safe loader, except that dates stay text and a key given twice is an error.

    A lone y or n is a boolean, as it is for kubectl, so that what is read here is what is applied.
    """

    bool_values = {**yaml.CSafeLoader.bool_values, "y": True, "n": False}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
