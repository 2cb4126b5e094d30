"""OCI archives, as `ctr images import` and `buildah pull oci-archive:` take them.

Format: https://github.com/opencontainers/image-spec (image layout, config, manifest).
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_archive(
    name: str,
    root: Path,
    out: Path,
    *,
    entrypoint: Sequence[str] = (),
    user: str = "",
    env: Sequence[str] = (),
) -> None:
    """Make an image of one layer out of a root file system.

    The layer goes to the disk first: a base of 300 MB need not be in memory three times.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        layer = Path(scratch) / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(root, arcname=".", filter=_keep)
        layer_digest, layer_size = _digest_file(layer), layer.stat().st_size
        config = _json(
            {
                "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {"Entrypoint": list(entrypoint), "Env": [_PATH, *env], "User": user},
                "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
                # buildah adds layers only to an image whose history tells of all it has.
                "history": [{"created_by": "a root file system"}],
            }
        )
        described_layer = _describe("layer.v1.tar", layer_digest, layer_size)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": _describe("config.v1+json", _digest(config), len(config)),
                "layers": [described_layer],
            }
        )
        described = _describe("manifest.v1+json", _digest(manifest), len(manifest))
        # containerd names the image by the first, buildah and skopeo by the second.
        described["annotations"] = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        }
        index = _json({"schemaVersion": 2, "manifests": [described]})
        written = Path(scratch) / "image.tar"
        with tarfile.open(written, "w") as archive:
            _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add(archive, "index.json", index)
            for blob in (config, manifest):
                _add(archive, _blob_path(_digest(blob)), blob)
            archive.add(layer, arcname=_blob_path(layer_digest))
        shutil.move(written, out)


def _keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Device nodes are the runtime's to make; everything belongs to who it says."""
    return None if member.isdev() and not (member.isreg() or member.isdir()) else member


def _add(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    member = tarfile.TarInfo(path)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _describe(kind: str, digest: str, size: int) -> dict[str, object]:
    media_type = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media_type, "digest": digest, "size": size}
