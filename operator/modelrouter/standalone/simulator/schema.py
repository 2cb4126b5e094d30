"""A small value that a JSON schema accepts."""

from __future__ import annotations

from typing import Any

from modelrouter.standalone.simulator.regex_example import regex_example

_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_SHALLOW = 8
"""Depth from which alternatives that lead back into the schema are avoided."""
_DEEPEST = 64


class SchemaError(ValueError):
    """A schema for which no value is found; the text says where and why."""


def schema_example(schema: Any, *, word: str = "text") -> Any:
    """A minimal value: only required properties, shortest arrays. `word` fills free strings."""
    return _Example(schema, word).value(schema, "$", 0)


class _Example:
    def __init__(self, root: Any, word: str) -> None:
        self._root = root
        self._word = word

    def value(self, schema: Any, path: str, depth: int) -> Any:
        if schema is True or schema == {}:
            return self._word
        if not isinstance(schema, dict):
            raise SchemaError(f"{path}: no value satisfies {schema!r}")
        if depth > _DEEPEST:
            raise SchemaError(f"{path}: the schema requires itself without end")
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        schema = self._merged(schema, path)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {k: v for k, v in schema.items() if k != key}
                branches = schema[key]
                if depth > _SHALLOW:
                    branches = sorted(branches, key=_weight)
                branch = _merge(rest, branches[0]) if rest else branches[0]
                return self.value(branch, path, depth + 1)
        if "const" in schema or "enum" in schema:
            return self.value({k: schema[k] for k in ("const", "enum") if k in schema}, path, depth)
        match _type_of(schema):
            case "object":
                return self._object(schema, path, depth)
            case "array":
                return self._array(schema, path, depth)
            case "string":
                return self._string(schema, path)
            case "integer":
                return int(_number(schema, path, integer=True))
            case "number":
                return _number(schema, path, integer=False)
            case "boolean":
                return True
            case "null":
                return None
            case other:
                raise SchemaError(f"{path}: unknown type {other!r}")

    def _merged(self, schema: dict[str, Any], path: str) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` put in place."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                rest = {k: v for k, v in schema.items() if k != "$ref"}
                schema = _merge(self._resolve(str(schema["$ref"]), path), rest)
            elif "allOf" in schema:
                parts = schema["allOf"]
                schema = {k: v for k, v in schema.items() if k != "allOf"}
                for part in parts:
                    schema = _merge(schema, part)
            else:
                return schema
        raise SchemaError(f"{path}: references go round in a circle")

    def _resolve(self, reference: str, path: str) -> Any:
        if not reference.startswith("#"):
            raise SchemaError(f"{path}: {reference!r} lies outside the schema")
        target = self._root
        for step in reference[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key)] if isinstance(target, list) else target[key]
            except (KeyError, ValueError, IndexError, TypeError):
                raise SchemaError(f"{path}: {reference!r} does not exist") from None
        return target

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties", True)
        names = list(schema.get("required") or ())
        least = schema.get("minProperties", 0)
        names += [name for name in properties if name not in names][: max(0, least - len(names))]
        while len(names) < least:
            names.append(f"key{len(names)}")
        return {
            name: self.value(properties.get(name, extra), f"{path}.{name}", depth + 1)
            for name in names
        }

    def _array(self, schema: dict[str, Any], path: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        rest = schema.get("items", True)
        if isinstance(rest, list):  # Tuples, as drafts before 2020-12 spell them.
            first, rest = rest, schema.get("additionalItems", True)
        values: list[Any] = []
        for index in range(schema.get("minItems", 0)):
            item = first[index] if index < len(first) else rest
            value = self.value(item, f"{path}[{index}]", depth + 1)
            if schema.get("uniqueItems") and value in values:
                value = _another(item, value, values, f"{path}[{index}]")
            values.append(value)
        return values

    def _string(self, schema: dict[str, Any], path: str) -> str:
        if "pattern" in schema:
            example = regex_example(schema["pattern"])
            if example is None:
                raise SchemaError(f"{path}: no example for the pattern {schema['pattern']!r}")
            text = example
        else:
            text = _FORMATS.get(str(schema.get("format")), self._word)
            most = schema.get("maxLength")
            if most is not None:
                text = text[:most]
        shortest: int = schema.get("minLength", 0)
        return text + "x" * max(0, shortest - len(text))


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind is not None:
        return str(kind)
    for name, keys in (
        ("object", ("properties", "required", "additionalProperties", "minProperties")),
        ("array", ("items", "prefixItems", "minItems")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ):
        if any(key in schema for key in keys):
            return name
    return "string"


def _number(schema: dict[str, Any], path: str, *, integer: bool) -> float:
    step = schema.get("multipleOf", 1 if integer else None)
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    grain = step or 1

    def fits(value: float) -> bool:
        return (
            (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
            and (below is None or value < below)
        )

    candidates: list[float] = [grain, 0]
    for bound in (low, above, high, below):
        if bound is not None:
            near = bound // grain * grain
            candidates += [near, near + grain, near - grain]
    if step is None:
        candidates += [bound for bound in (low, high) if bound is not None]
        floor = low if low is not None else above
        ceiling = high if high is not None else below
        if floor is not None and ceiling is not None:
            candidates.append((floor + ceiling) / 2)
    for value in candidates:
        if fits(value):
            return value
    raise SchemaError(f"{path}: no number lies between its bounds")


def _another(item: Any, value: Any, taken: list[Any], path: str) -> Any:
    """A value like this one that is not taken yet."""
    choices = item.get("enum", []) if isinstance(item, dict) else []
    if isinstance(value, str) and not choices:
        choices = [f"{value}{number}" for number in range(len(taken) + 1)]
    elif isinstance(value, bool):
        choices = [True, False]
    elif isinstance(value, int | float) and not choices:
        step = item.get("multipleOf", 1) if isinstance(item, dict) else 1
        choices = [value + step * number for number in range(len(taken) + 1)]
    for choice in choices:
        if choice not in taken:
            return choice
    raise SchemaError(f"{path}: no further unique value found")


def _merge(left: Any, right: Any) -> dict[str, Any]:
    """Both schemas at once, as far as that can be said in one."""
    if not isinstance(left, dict):
        return right if isinstance(right, dict) else {}
    if not isinstance(right, dict):
        return left
    merged = {**left, **right}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    for key in ("allOf", "anyOf"):
        if key in left and key in right:
            merged[key] = [*left[key], *right[key]] if key == "allOf" else left[key]
    return merged


def _weight(schema: Any) -> int:
    """How far an alternative may lead: constants first, references last."""
    if not isinstance(schema, dict):
        return 0
    if "const" in schema or "enum" in schema or schema.get("type") == "null":
        return 0
    if "$ref" in schema or "allOf" in schema:
        return 3
    return 2 if schema.get("type") in ("object", "array") else 1
