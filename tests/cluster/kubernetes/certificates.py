"""The keys of a test cluster, by openssl: authority, API server, its client, service accounts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.kubernetes.problems import ClusterError

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_DAYS = 30


def write_certificates(folder: Path, addresses: Sequence[str]) -> None:
    """Write `ca`, `server` and `client` (`.crt`, `.key`) and `sa` (`.key`, `.pub`)."""
    if shutil.which("openssl") is None:
        raise ClusterError("a cluster needs openssl for its certificates (Debian: openssl)")
    san = [
        "DNS:localhost",
        "DNS:kubernetes.default.svc",
        *(f"IP:{address}" for address in addresses),
    ]
    (folder / "san").write_text(f"subjectAltName={','.join(san)}\n")
    _run(folder, "req", "-x509", *_KEY, "-days", _DAYS, "-subj", "/CN=test-ca",
         "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    _issue(folder, "server", "/CN=kube-apiserver")
    _issue(folder, "client", "/O=system:masters/CN=kube-apiserver")
    _run(folder, "genrsa", "-out", "sa.key", 2048)
    _run(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def _issue(folder: Path, name: str, subject: str) -> None:
    _run(folder, "req", *_KEY, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    _run(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
         "-CAcreateserial", "-days", _DAYS, "-extfile", "san", "-out", f"{name}.crt")  # fmt: skip


def _run(folder: Path, *arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
