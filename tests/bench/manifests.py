"""The manifests that the router runs on here: a route as teams have it, not the simplest one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BACKEND_MODEL = "acme/assistant-8b-instruct"
KEY = "sk-of-the-provider"

_SECRET = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: provider}}
stringData: {{api-key: {KEY}}}
"""

_POOLS = """\
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: {model}-first}}
spec:
  model: {backend_model}
  provider:
    kind: OpenAICompatible
    baseUrl: http://127.0.0.1:{first}/v1
    credentials: {{secretRef: {{name: provider, key: api-key}}}}
  contextWindow: 131072
  features: [tools, jsonSchema]
  zone: eu
  dataClasses: [public, internal]
  price: {{input: "0.15", output: "0.60"}}
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: {model}-second}}
spec:
  model: {backend_model}
  endpoints: ["127.0.0.1:{second}"]
  contextWindow: 131072
  features: [tools, jsonSchema, images]
  zone: on-premises
  dataClasses: [public, internal, confidential]
  healthCheck: {{path: /health, interval: 1s, timeout: 1s}}
"""

_ROUTE = """\
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {{name: {model}}}
spec:
  models: [{model}]
  pools: [{model}-first, {model}-second]
  rules:
  - name: confidential-stays-home
    match: {{dataClasses: [confidential]}}
    targets: [{{pool: {model}-second}}]
    failover: [None]
  - name: pictures
    match: {{features: [images]}}
    targets: [{{pool: {model}-second}}]
  - name: testers
    match: {{headers: [{{name: x-team, regex: "^(qa|test)-[a-z]+$"}}]}}
    targets: [{{pool: {model}-second}}]
  - name: long-prompts
    match: {{promptTokens: {{min: 60000}}}}
    targets: [{{pool: {model}-second}}]
  - name: default
    targets:
    - {{pool: {model}-first, weight: 80}}
    - {{pool: {model}-second, weight: 20}}
  failover: [{model}-first, {model}-second]
  sticky: {{by: Session, header: x-session-id}}
"""


def write(folder: Path, models: Mapping[str, tuple[int, int]]) -> None:
    """One route with two pools for each model: by its name, the ports of the two."""
    (folder / "secret.yaml").write_text(_SECRET)
    for model, (first, second) in models.items():
        values = {
            "model": model,
            "first": first,
            "second": second,
            "backend_model": BACKEND_MODEL,
        }
        (folder / f"{model}-pools.yaml").write_text(_POOLS.format(**values))
        (folder / f"{model}-route.yaml").write_text(_ROUTE.format(**values))
