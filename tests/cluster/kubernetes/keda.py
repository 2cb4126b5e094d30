"""KEDA's own definition of ScaledObjects, from its pinned Go module.

It is fetched rather than kept here, so that what tests check against is KEDA's, unchanged.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from cluster.kubernetes.problems import ClusterError

MODULE = "github.com/kedacore/keda/v2@v2.21.0"
CHECKSUM = "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="
"""Of the module's files, as go.sum has it: https://go.dev/ref/mod#go-sum-files."""


def scaled_object_definition() -> Path:
    """The CustomResourceDefinition as a file; about 10 MB are fetched the first time.

    Raises:
        ClusterError: it cannot be fetched, or is not what it should be.
    """
    if shutil.which("go") is None:
        raise ClusterError("KEDA's definitions are fetched by Go (https://go.dev/dl)")
    command = ["go", "mod", "download", "-json", MODULE]
    # Outside the checkout: this is no module of ours.
    said = subprocess.run(command, cwd="/", check=False, capture_output=True, text=True)
    try:
        module = json.loads(said.stdout)
    except ValueError:
        raise ClusterError(f"{' '.join(command)}: {said.stderr.strip()}") from None
    if module.get("Error"):
        raise ClusterError(f"{' '.join(command)}: {module['Error']}")
    if module["Sum"] != CHECKSUM:
        raise ClusterError(f"{MODULE} has checksum {module['Sum']}, not {CHECKSUM}")
    return Path(module["Dir"]) / "config" / "crd" / "bases" / "keda.sh_scaledobjects.yaml"
