"""The programs a cluster is made of: compiled once from pinned Go modules, outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.kubernetes.pause import build_pause
from cluster.kubernetes.problems import ClusterError

VERSION = "v1.36.3"
"""Of Kubernetes. The server says so only if the linker is told."""
GO = "1.26"
"""Built with Go 1.27, the API server's OpenAPI is broken and `kubectl apply` fails."""
PINS = Path(__file__).resolve().parent / "pins"
LDFLAGS = f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"


def cache() -> Path:
    """What is built once for all checkouts: `$MODELROUTER_CLUSTER_CACHE` or one in the home."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MODELROUTER_CLUSTER_CACHE") or Path(home) / "modelrouter-cluster")


def digest(pins: Path = PINS) -> str:
    """A name for this set of pins: a changed one builds anew, an unchanged one never does."""
    whole = hashlib.sha256(VERSION.encode())
    for path in sorted([*pins.glob("*/go.*"), *pins.glob("*/*.go")]):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def folder() -> Path:
    """Where the tools of these pins are, or will be: `bin/`, `cni/`, `pause.tar`."""
    return cache() / digest()


def built() -> bool:
    """Whether `build` would return at once."""
    return (folder() / "done").exists()


def build() -> Path:
    """Compile what is not there yet (about 7 minutes on 2 cores) and return the folder.

    Raises:
        ClusterError: there is no Go, or not the right one.
    """
    target = folder()
    if built():
        return target
    _check_go()
    with locked(target):
        if built():
            return target  # by another process, meanwhile
        for module in sorted(path for path in PINS.iterdir() if path.is_dir()):
            for out, packages in group_by_folder(_tools_of(module)).items():
                _compile(module, target / out, packages)
        # Go names it after its package.
        (target / "bin" / "server").rename(target / "bin" / "etcd")
        if shutil.which("cc"):
            build_pause(target)
        (target / "done").touch()
    return target


def group_by_folder(packages: Iterable[str]) -> dict[str, list[str]]:
    """Packages by the folder for their programs: network plugins have one of their own."""
    groups: dict[str, list[str]] = {}
    for package in packages:
        plugin = package.startswith("github.com/containernetworking/")
        groups.setdefault("cni" if plugin else "bin", []).append(package)
    return groups


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time fill a folder of the cache."""
    target.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_go() -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            f"building Kubernetes needs Go {GO} (https://go.dev/dl); it is not on PATH"
        )
    said = subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True)
    found = said.stdout.strip().removeprefix("go")
    if found.split(".")[:2] != GO.split("."):
        raise ClusterError(f"building Kubernetes needs Go {GO} (https://go.dev/dl); found {found}")


def _tools_of(module: Path) -> list[str]:
    command = ["go", "mod", "edit", "-json"]
    said = subprocess.run(command, cwd=module, check=True, capture_output=True, text=True)
    return [tool["Path"] for tool in json.loads(said.stdout)["Tool"]]


def _compile(module: Path, out: Path, packages: list[str]) -> None:
    out.mkdir(exist_ok=True)
    print("building " + " ".join(package.rsplit("/", 1)[-1] for package in packages), flush=True)
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", LDFLAGS, "-o", f"{out}/", *packages],
        cwd=module,
        env=os.environ | {"CGO_ENABLED": "0"},
        check=True,
    )
