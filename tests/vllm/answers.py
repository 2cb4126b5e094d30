"""One request and its answer, reduced to what does not differ from model to model."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from vllm.serving import ModelServer

Body = dict[str, Any] | bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    content_type: str
    """Without parameters; empty if there is none."""
    text: str

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.text)

    @property
    def events(self) -> list[str]:
        """The data of server-sent events."""
        return [line[6:] for line in self.text.splitlines() if line.startswith("data: ")]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error without its message, whose words differ with names and numbers."""
        said = self.json if self.content_type == "application/json" else None
        error = said.get("error") if isinstance(said, dict) else None
        return {name: error[name] for name in error if name != "message"} if error else None


def ask(server: ModelServer, method: str, path: str, body: Body = None) -> Answer:
    """Send a request: a dict as JSON, bytes as they are, with the type of JSON."""
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {} if raw is None else {"content-type": "application/json"}
    with closing(server.connection()) as connection:
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        kind = (answer.getheader("content-type") or "").split(";")[0]
        return Answer(answer.status, kind, answer.read().decode(errors="replace"))


def shape(value: Any) -> Any:
    """The names and kinds in a JSON value; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "text"


def lacking(shown: Any, wanted: Any, place: str = "") -> list[str]:
    """Where the first shape has something that the second has not, or of another kind."""
    if isinstance(shown, dict) and isinstance(wanted, dict):
        return [
            problem
            for name, item in shown.items()
            for problem in (
                lacking(item, wanted[name], f"{place}.{name}")
                if name in wanted
                else [f"{place}.{name}"]
            )
        ]
    if isinstance(shown, list) and isinstance(wanted, list):
        return lacking(shown[0], wanted[0], f"{place}[]") if shown and wanted else []
    return [] if shown == wanted else [f"{place}: {shown}, not {wanted}"]
