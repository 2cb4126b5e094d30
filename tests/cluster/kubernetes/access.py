"""A cluster as tests use it: kubectl, users, outages, who wrote what."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.kubernetes.control_plane import API_SERVER, CONTROLLERS, SCHEDULER, write_kubeconfig
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.running import Cluster
from cluster.kubernetes.supervising import give


def must_not_skip() -> bool:
    """Whether tests that cannot run are failures: in continuous integration (`CI=true`)."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


class KubectlError(Exception):
    """kubectl failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A cluster of this harness or, with `own` unset, one that somebody else runs."""

    kubeconfig: Path
    own: Cluster | None = None
    programs: Path | None = None
    """Where kubectl and helm are if not on PATH."""

    @property
    def is_own(self) -> bool:
        """Whether the API server can be stopped and its audit log be read."""
        return self.own is not None

    @property
    def has_node(self) -> bool:
        """Whether pods run. On somebody else's cluster they are expected to."""
        return self.own is None or self.own.node

    @property
    def url(self) -> str:
        """Of the API server."""
        if self.own:
            return self.own.url
        return self.kubectl(
            "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"
        )

    @property
    def audit_log(self) -> Path:
        """One JSON object (audit.k8s.io/v1 Event) per finished write."""
        return self._mine().audit_log

    @property
    def environment(self) -> dict[str, str]:
        """For programs that talk to the cluster: `KUBECONFIG`, `PATH`."""
        folder = f"{self.programs}:" if self.programs else ""
        path = f"{folder}{os.environ['PATH']}"
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True, timeout: float = 120
    ) -> str:
        """What kubectl prints.

        Raises:
            KubectlError: it failed and `check` is set. Without it, what it said is returned.
        """
        return self._run(["kubectl", *arguments], input, check, timeout)

    def helm(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """What helm prints; errors as of `kubectl`."""
        return self._run(["helm", *arguments], None, check, timeout)

    def get(self, *arguments: str) -> Any:
        """The object or List that `kubectl get … -o json` prints."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any], namespace: str = "default") -> None:
        """Server-side apply of objects given as plain dicts."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=listed)

    def establish(self, *definitions: str) -> None:
        """Wait until CustomResourceDefinitions are served; arguments as of `kubectl wait`."""
        wait = ("wait", "--for=condition=Established", "--timeout=60s", *definitions)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.kubectl(*wait)
                return
            except KubectlError as error:
                # A definition that has no condition yet is an error to kubectl.
                if "accessor error" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def kubeconfig_of(self, service_account: str, namespace: str, folder: Path) -> Path:
        """A kubeconfig that lets a service account in, as it would be from a pod."""
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=2h")
        path = folder / f"kubeconfig-{namespace}-{service_account}"
        authority = self._mine().run / "ca.crt"
        write_kubeconfig(path, self.url, authority, token.strip(), namespace)
        return path

    def stop_api_server(self) -> None:
        """Kill it. Watches and requests break; etcd keeps everything."""
        give(self._mine().run, "stop", API_SERVER)

    def start_api_server(self, timeout: float = 120) -> None:
        """Start it again and wait until it is ready."""
        give(self._mine().run, "start", API_SERVER)
        self.wait_for_api_server(timeout)

    def restart_api_server(self) -> None:
        """An outage of about 3 s."""
        self.stop_api_server()
        self.start_api_server()

    def restart_controllers(self) -> None:
        """Have Kubernetes' own controllers and the scheduler at work at once: after an outage they
        take up to a minute and a half to try again."""
        own = self._mine()
        for program in (CONTROLLERS, SCHEDULER) if own.node else (CONTROLLERS,):
            give(own.run, "stop", program)
            give(own.run, "start", program)

    def freeze_api_server(self) -> None:
        """Stop its process in its tracks: connections stay, nothing answers."""
        give(self._mine().run, "freeze", API_SERVER)

    def thaw_api_server(self) -> None:
        """Let a frozen one go on."""
        give(self._mine().run, "thaw", API_SERVER)

    def wait_for_api_server(self, timeout: float = 120) -> None:
        """Raises ClusterError when it is not ready in time."""
        deadline = time.monotonic() + timeout
        while self.kubectl("get", "--raw", "/readyz", check=False) != "ok":
            if time.monotonic() > deadline:
                raise ClusterError(f"the API server was not ready in {timeout:.0f} s")
            time.sleep(0.1)

    def writes(self, user: str | None = None) -> Iterator[dict[str, Any]]:
        """Finished writes, oldest first: by all or by a user (`system:serviceaccount:NS:NAME`)."""
        with self.audit_log.open() as lines:
            for line in lines:
                event = json.loads(line)
                if user is None or event["user"]["username"] == user:
                    yield event

    def _run(self, command: Sequence[str], input: str | None, check: bool, timeout: float) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=input,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode == 0:
            return done.stdout
        if check:
            raise KubectlError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    def _mine(self) -> Cluster:
        if self.own is None:
            raise ClusterError("this needs a cluster of the harness; unset MODELROUTER_KUBECONFIG")
        return self.own
