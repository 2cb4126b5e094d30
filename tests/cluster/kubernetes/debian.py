"""A Debian root file system with Python: stands in for the public base image where no registry is.

https://hub.docker.com/_/python is Debian with a Python of its own in /usr/local; this one has
Debian's, of the same version, which is all that the Dockerfile relies on.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cluster.kubernetes import tools
from cluster.kubernetes.archives import write_archive
from cluster.kubernetes.problems import ClusterError

SUITE = "bookworm"
PYTHON = "3.11"
"""Debian's version of Python in that suite."""
_PACKAGES = ("python3-minimal", "python3-venv", "ca-certificates")
_MIRROR = "http://deb.debian.org/debian"
_SOURCES = Path("/etc/apt")
# The public images leave these out, too.
_SUPERFLUOUS = (
    "var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man",
    "usr/share/locale", "usr/share/info", "tmp",
)  # fmt: skip


def base_archive(name: str) -> Path:
    """An OCI archive of the base, under the name that the Dockerfile has for it. Made once (1 min).

    Raises:
        ClusterError: the Dockerfile asks for another Python, or debootstrap cannot work here.
    """
    if not re.search(rf"python:{re.escape(PYTHON)}-slim", name):
        raise ClusterError(
            f"the Dockerfile starts from {name}, and Debian {SUITE} has Python {PYTHON}: "
            "change cluster/kubernetes/debian.py with it"
        )
    recipe = hashlib.sha256(repr((name, SUITE, _PACKAGES, _SUPERFLUOUS)).encode()).hexdigest()[:12]
    archive = tools.cache() / "images" / f"base-{recipe}.tar"
    if archive.exists():
        return archive
    if shutil.which("debootstrap") is None:
        raise ClusterError("the base image is made by debootstrap: apt-get install debootstrap")
    with tools.locked(archive.parent):
        if not archive.exists():
            print(f"making a base image of Debian {SUITE}", flush=True)
            _make(name, archive)
    return archive


def mirror(files: Iterable[str]) -> str:
    """Where this machine gets Debian from, by the text of its apt sources."""
    for text in files:
        for line in text.splitlines():
            words = line.split("#")[0].split()
            for url in words:
                if re.fullmatch(r"https?://\S+/debian/?", url) and words[0] in ("deb", "URIs:"):
                    return url.rstrip("/")
    return _MIRROR


def _make(name: str, archive: Path) -> None:
    root = archive.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    sources = [*_SOURCES.glob("sources.list.d/*.sources"), *_SOURCES.glob("sources.list")]
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE]
    said = subprocess.run(
        [*command, str(root), mirror(path.read_text() for path in sources)],
        check=False,
        capture_output=True,
        text=True,
    )
    if said.returncode != 0:
        tail = "\n".join((said.stdout + said.stderr).splitlines()[-5:])
        raise ClusterError(f"debootstrap failed, so there is no base image:\n{tail}")
    for folder in _SUPERFLUOUS:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(mode=0o1777 if folder == "tmp" else 0o755)
    (root / "tmp").chmod(0o1777)
    write_archive(name, root, archive, entrypoint=["python3"])
    shutil.rmtree(root, ignore_errors=True)
