"""How the API server is reached: from inside a pod, or by a kubeconfig file."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the cluster's CA and its namespace."""

TOKEN_SECONDS = 30.0
"""A token file is read again after this long: the kubelet replaces tokens before they expire."""


class NoClusterError(Exception):
    """There is nothing to say where the API server is; the message says what is missing."""


Authorization = Callable[[bool], Awaitable[str | None]]
"""Gives the `Authorization` header's value; `True` asks for a fresh one after a 401."""


async def _anonymous(_: bool) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything needed to talk to one API server. It holds keys: it is never logged."""

    url: str
    """Scheme, host and port, without a slash at the end."""
    tls: ssl.SSLContext | None = None
    authorization: Authorization = field(default=_anonymous, repr=False)
    namespace: str | None = None
    """Of the pod that this runs in, or of the kubeconfig's context."""
    tls_name: str | None = None
    """Name in the server's certificate, where it is not the URL's host."""
    proxy: str | None = None


async def find_cluster(kubeconfig: Path | None = None) -> Connection:
    """By the kubeconfig file if one is given, else from inside a pod.

    Raises `NoClusterError` if neither works.
    """
    if kubeconfig is not None:
        return await from_kubeconfig(kubeconfig)
    return in_cluster()


def in_cluster(directory: Path = SERVICE_ACCOUNT) -> Connection:
    """The connection that Kubernetes gives to every pod that has a service account's token."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise NoClusterError(
            "KUBERNETES_SERVICE_HOST is not set: this is no pod; name a kubeconfig file instead"
        )
    token = TokenFile(directory / "token")
    try:
        token.read()
        tls = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    except (OSError, ssl.SSLError) as error:
        raise NoClusterError(
            f"{directory} cannot be used ({error.strerror or error}): does the pod mount a "
            "service account's token?"
        ) from None
    namespace = directory / "namespace"
    return Connection(
        url=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        tls=tls,
        authorization=token,
        namespace=namespace.read_text().strip() if namespace.exists() else None,
    )


class TokenFile:
    """A bearer token that somebody else keeps fresh in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._value = ""
        self._read_at = 0.0

    async def __call__(self, fresh: bool) -> str | None:
        if fresh or time.monotonic() - self._read_at > TOKEN_SECONDS:
            try:
                self.read()
            except OSError:
                # Being replaced just now, perhaps. The old one may be good for minutes yet.
                if not self._value:
                    raise
        return self._value

    def read(self) -> None:
        """Take what the file holds now."""
        self._value = f"Bearer {self._path.read_text().strip()}"
        self._read_at = time.monotonic()


async def from_kubeconfig(path: Path, context: str | None = None) -> Connection:
    """The connection of a kubeconfig's context, the current one by default.

    Certificates, tokens, passwords, OIDC and exec plugins are all read by the official client.
    """
    # Imported where it is needed: it costs 21 MB, and no pod ever uses it.
    import yaml

    try:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import (
            ConfigException,
            list_kube_config_contexts,
            load_kube_config,
        )
    except ImportError:
        raise NoClusterError(
            "reading a kubeconfig file needs the official client: "
            "pip install 'model-router-operator[kubeconfig]'"
        ) from None

    async def load() -> Configuration:
        configuration = Configuration()
        await load_kube_config(  # type: ignore[no-untyped-call]
            str(path), context, client_configuration=configuration, persist_config=False
        )
        return configuration

    try:
        contexts, active = list_kube_config_contexts(str(path))  # type: ignore[no-untyped-call]
        loaded = await load()
        tls = None
        if loaded.host.startswith("https:"):
            tls = ssl.create_default_context(cafile=loaded.ssl_ca_cert)
            if loaded.cert_file:
                tls.load_cert_chain(loaded.cert_file, loaded.key_file)
            if not loaded.verify_ssl:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
    except (ConfigException, OSError, ssl.SSLError) as error:
        raise NoClusterError(f"{path} cannot be used: {error}") from None
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        # Without the error's own text, which may quote the file.
        raise NoClusterError(f"{path} cannot be used: it is no kubeconfig file") from None

    chosen = next((found for found in contexts if found["name"] == context), active)
    current: str | None = loaded.api_key.get("BearerToken")

    async def authorization(fresh: bool) -> str | None:
        nonlocal current
        if fresh:
            current = (await load()).api_key.get("BearerToken")
        return current

    return Connection(
        url=loaded.host.rstrip("/"),
        tls=tls,
        authorization=authorization,
        namespace=chosen.get("context", {}).get("namespace"),
        tls_name=loaded.tls_server_name,
        proxy=loaded.proxy,
    )
