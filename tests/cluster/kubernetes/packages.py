"""Debian packages that the node and the images need beside the compiled tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping

from cluster.kubernetes.problems import ClusterError

PACKAGES: Mapping[str, str] = {
    "openssl": "openssl",
    "unshare": "util-linux",
    "ip": "iproute2",
    "runc": "runc",
    "nft": "nftables",
    "conntrack": "conntrack",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "cc": "gcc libc6-dev",
}
"""Packages by the program that shows that they are there."""


def missing(found: Callable[[str], object] = shutil.which) -> list[str]:
    """Packages that are not installed."""
    lacking = (packages for program, packages in PACKAGES.items() if not found(program))
    return [package for packages in lacking for package in packages.split()]


def install() -> None:
    """Install what is missing; nothing is asked of apt when nothing is.

    Raises:
        ClusterError: it cannot be done here; one line with the remedy.
    """
    wanted = missing()
    if not wanted:
        return
    remedy = f"apt-get install {' '.join(wanted)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"a cluster with a node needs more packages; as root: {remedy}")
    print(f"installing {' '.join(wanted)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *wanted],
    ):
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if missing():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise ClusterError(f"{remedy} failed: {' '.join(last)}")
