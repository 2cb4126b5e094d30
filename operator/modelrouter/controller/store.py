"""Objects of one kind as they were last seen, whoever saw them: a watch, or the answer to a write.

The two arrive in no fixed order, so the newer resourceVersion wins. Versions of one kind can be
compared as numbers: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from modelrouter.api.manifests import Key

Object = Mapping[str, Any]

_MOST_GRAVES = 4096


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(obj: Object) -> int:
    """The object's resourceVersion as a number; 0 where it has none or is no number."""
    text = str(obj.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def own_fields_only(obj: Object, manager: str) -> dict[str, Any]:
    """The object without the ownership records of others, which take up most of its memory."""
    metadata = dict(obj["metadata"])
    entries = metadata.pop("managedFields", ())
    metadata["managedFields"] = [entry for entry in entries if entry.get("manager") == manager]
    return {**obj, "metadata": metadata}


class ObjectStore:
    """Objects by namespace and name."""

    def __init__(self, trim: Callable[[Object], Object] = lambda obj: obj) -> None:
        self._trim = trim
        self._objects: dict[Key, Object] = {}
        self._graves: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._objects.values())

    def get(self, key: Key) -> Object | None:
        """The object, if there is one."""
        return self._objects.get(key)

    def put(self, obj: Object) -> bool:
        """Take an object in; whether it is news."""
        key, version = key_of(obj), version_of(obj)
        known = self._objects.get(key)
        if known is not None and version <= version_of(known):
            return False
        if version <= self._graves.get(key, -1):
            return False
        self._objects[key] = self._trim(obj)
        return True

    def remove(self, obj: Object) -> bool:
        """The object was deleted; whether that is news. One made again since then stays."""
        key, version = key_of(obj), version_of(obj)
        known = self._objects.get(key)
        if len(self._graves) >= _MOST_GRAVES:
            self._graves.clear()
        self._graves[key] = max(version, self._graves.get(key, 0))
        if known is None or version_of(known) > version:
            return False
        del self._objects[key]
        return True

    def replace(self, objects: Iterable[Object], namespace: str | None) -> set[Key]:
        """Take in a complete list of a namespace (None: of all); the keys that changed."""
        changed: set[Key] = set()
        listed: set[Key] = set()
        for obj in objects:
            listed.add(key_of(obj))
            if self.put(obj):
                changed.add(key_of(obj))
        for key in list(self._objects):
            if key not in listed and namespace in (None, key[0]):
                del self._objects[key]
                changed.add(key)
        return changed
