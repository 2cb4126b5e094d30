"""OCI archives: what is written can be read, and says what it should."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from cluster.kubernetes.archives import write_archive


def test_an_archive_names_its_image_and_every_blob_is_what_its_digest_says(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    out = tmp_path / "image.tar"
    write_archive("example.com/tool:1", root, out, entrypoint=["/bin/tool"], user="7")
    with tarfile.open(out) as archive:
        files = {name: _read(archive, name) for name in archive.getnames()}
    blobs = {name.rsplit("/", 1)[1]: blob for name, blob in files.items() if "blobs/" in name}
    index = json.loads(files["index.json"])
    assert all(hashlib.sha256(blob).hexdigest() == name for name, blob in blobs.items())
    described = index["manifests"][0]
    assert described["annotations"]["io.containerd.image.name"] == "example.com/tool:1"
    manifest = json.loads(blobs[described["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["config"]["User"] == "7"
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
