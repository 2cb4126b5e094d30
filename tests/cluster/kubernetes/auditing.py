"""Who wrote what: an audit policy that logs the metadata of every write."""

from __future__ import annotations

import json
from pathlib import Path

WRITES = ("create", "update", "patch", "delete", "deletecollection")


def write_policy(path: Path) -> None:
    """One line per finished write; reads and the requests' bodies are left out."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "rules": [{"level": "Metadata", "verbs": list(WRITES)}, {"level": "None"}],
    }
    path.write_text(json.dumps(policy))
