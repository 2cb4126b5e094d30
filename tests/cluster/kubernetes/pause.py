"""The image that holds a pod's namespaces: a static program that reaps and waits."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.kubernetes.archives import write_archive

PAUSE = "registry.k8s.io/pause:3.10"
_SOURCE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def build_pause(target: Path) -> None:
    """Write `pause.tar` into a folder. Needs a C compiler."""
    root = target / "pause"
    root.mkdir(exist_ok=True)
    command = ["cc", "-static", "-Os", "-w", "-x", "c", "-", "-o", str(root / "pause")]
    subprocess.run(command, input=_SOURCE, text=True, check=True)
    write_archive(PAUSE, root, target / "pause.tar", entrypoint=["/pause"])
