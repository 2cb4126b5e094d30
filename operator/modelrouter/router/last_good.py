"""The last configuration that Envoy accepted, kept on disk for a start without any source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog

from modelrouter.files import replace_file
from modelrouter.router.inputs import FileSource, Inputs, UnreadableInputError
from modelrouter.router.services import Services

log = structlog.get_logger(__name__)


class LastGoodConfig:
    """Files in the state directory, readable by their owner only: one holds keys.

    Endpoints have a file of their own, because they change on their own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._endpoints = directory / "last-good-endpoints.json"
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
            replace_file(self._files.secrets, orjson.dumps(inputs.secrets))
            replace_file(self._files.config, orjson.dumps(inputs.document))
        except OSError as error:
            log.warning("the last good configuration could not be saved", reason=error.strerror)

    def load_endpoints(self, services: Services) -> None:
        """Fill `services` with what was saved last, if anything was."""
        try:
            services.load(orjson.loads(self._endpoints.read_bytes()))
        except (OSError, ValueError) as error:
            log.debug("no last good endpoints", reason=str(error))

    def save_endpoints(self, content: Mapping[str, Any]) -> None:
        """Replace the endpoints; `content` is what `Services.plain` gives."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            replace_file(self._endpoints, orjson.dumps(content))
        except OSError as error:
            log.warning("the last good endpoints could not be saved", reason=error.strerror)
