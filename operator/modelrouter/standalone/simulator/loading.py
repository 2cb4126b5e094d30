"""What happens before the port opens: the model is downloaded, loaded, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelrouter.standalone.simulator.settings import SimulatorSettings


class LoadError(Exception):
    """The model cannot be loaded; the text is what vLLM would log, the root cause first."""


def loading(settings: SimulatorSettings) -> Iterator[tuple[str, float]]:
    """The steps of a start: what to say, and how many seconds it takes.

    Raises:
        LoadError: The settings say so, or the cache cannot be written.
    """
    if settings.download_s > 0:
        marker = _marker(settings)
        if marker is None or not marker.exists():
            text = f"downloading {settings.model} for {settings.download_s:g} s"
            yield text, settings.download_s
            if marker is not None:
                _keep(marker)
    if settings.load_time_s > 0:
        yield f"loading {settings.model} for {settings.load_time_s:g} s", settings.load_time_s
    if settings.load_error:
        raise _failure(settings.load_error)


def _marker(settings: SimulatorSettings) -> Path | None:
    if not settings.cache:
        return None
    name = "models--" + settings.model.strip("/").replace("/", "--")
    return Path(settings.cache) / "hub" / name / "simulated"


def _keep(marker: Path) -> None:
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError as error:
        raise _failure(f"{type(error).__name__}: {error}") from error


def _failure(cause: str) -> LoadError:
    # vLLM's last line is this one, whatever went wrong; the cause comes above it.
    return LoadError(
        "(EngineCore pid=1) ERROR EngineCore failed to start.\n"
        f"(EngineCore pid=1) ERROR {cause}\n"
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {}"
    )
