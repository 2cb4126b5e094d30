"""The last configuration that Envoy accepted, kept on disk for a start without any source."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import orjson
import structlog

from modelrouter.router.inputs import FileSource, Inputs, UnreadableInputError

log = structlog.get_logger(__name__)


class LastGoodConfig:
    """Two files in the state directory, readable by their owner only: one holds keys."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = FileSource(directory / "last-good.json", directory / "last-good-secrets.json")

    def load(self) -> Inputs | None:
        """What was saved last, or None."""
        try:
            return self._files.read()
        except UnreadableInputError as error:
            log.debug("no last good configuration", reason=str(error))
            return None

    def save(self, inputs: Inputs) -> None:
        """Replace what was saved. A full disk costs the copy, not the service."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            assert self._files.secrets is not None
            write_atomically(self._files.secrets, orjson.dumps(inputs.secrets))
            write_atomically(self._files.config, orjson.dumps(inputs.document))
        except OSError as error:
            log.warning("the last good configuration could not be saved", reason=error.strerror)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that no reader ever sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
