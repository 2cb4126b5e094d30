"""etcd, kube-apiserver and kube-controller-manager, without a node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.kubernetes.auditing import write_policy
from cluster.kubernetes.certificates import write_certificates
from cluster.kubernetes.ports import free_ports
from cluster.kubernetes.processes import Processes

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
SERVICE_IP = "10.96.0.1"
"""Of the API server, for pods."""
API_SERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
_MASTERS = "system:masters"
# Users of their own, so that the audit log tells the cluster's writes from the tests'.
_USERS = {
    "admin": ("admin", _MASTERS),
    "kube-controller-manager": ("system:kube-controller-manager", _MASTERS),
    "kube-scheduler": ("system:kube-scheduler", _MASTERS),
    "kube-proxy": ("system:kube-proxy", _MASTERS),
    "kubelet": ("system:node:node", _MASTERS),
}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One control plane with its files in a folder."""

    processes: Processes
    run: Path
    address: str = LOOPBACK
    """Where the API server is reached."""
    port: int = 6443

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.address}:{self.port}"

    def kubeconfig(self, user: str = "admin") -> Path:
        """The file that lets one of the cluster's own users in."""
        return self.run / ("kubeconfig" if user == "admin" else f"kubeconfig.{user}")

    def start(self, *, serves_pods: bool = False) -> None:
        """Start everything and return when the API server and the first controllers work (8 s)."""
        write_certificates(self.run, [LOOPBACK, SERVICE_IP, self.address])
        tokens = [f"{name}-token,{user},{name},{group}" for name, (user, group) in _USERS.items()]
        (self.run / "tokens").write_text("\n".join(tokens) + "\n")
        for name in _USERS:
            write_kubeconfig(self.kubeconfig(name), self.url, self.run / "ca.crt", f"{name}-token")
        write_policy(self.run / "audit-policy.json")
        etcd, peer = (f"http://{LOOPBACK}:{port}" for port in free_ports(2))
        self.processes.start("etcd", _flags(self._etcd(etcd, peer)))
        self.processes.start(API_SERVER, _flags(self._api_server(etcd, serves_pods)))
        self.processes.wait("the API server", lambda: self.ask("get", "--raw", "/readyz") == "ok")
        self.processes.start("kube-controller-manager", _flags(self._controller_manager()))
        accounts = ("get", "serviceaccount", "-n", "default", "-o", "name")
        self.processes.wait("the controllers", lambda: "/default" in self.ask(*accounts))

    def ask(self, *arguments: str) -> str:
        """What kubectl prints, or nothing when it fails."""
        command = [str(self.processes.programs / "kubectl"), f"--kubeconfig={self.kubeconfig()}"]
        said = subprocess.run(
            [*command, *arguments], check=False, capture_output=True, text=True, timeout=60
        )
        return said.stdout

    def _etcd(self, client: str, peer: str) -> Mapping[str, object]:
        return {
            "data-dir": self.run / "etcd",
            "unsafe-no-fsync": "true",
            "log-level": "error",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }

    def _api_server(self, etcd: str, serves_pods: bool) -> Mapping[str, object]:
        return {
            "etcd-servers": etcd,
            "secure-port": self.port,
            "bind-address": "0.0.0.0" if serves_pods else LOOPBACK,
            "advertise-address": self.address,
            # Endpoints must not be loopback; without pods nobody needs these.
            "endpoint-reconciler-type": "master-count" if serves_pods else "none",
            "tls-cert-file": self.run / "server.crt",
            "tls-private-key-file": self.run / "server.key",
            "client-ca-file": self.run / "ca.crt",
            "token-auth-file": self.run / "tokens",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": SERVICES,
            "allow-privileged": "true",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self.run / "sa.pub",
            "service-account-signing-key-file": self.run / "sa.key",
            "kubelet-client-certificate": self.run / "client.crt",
            "kubelet-client-key": self.run / "client.key",
            "kubelet-preferred-address-types": "InternalIP",
            "audit-policy-file": self.run / "audit-policy.json",
            "audit-log-path": self.run / "audit.log",
            "audit-log-maxsize": 2000,
        }

    def _controller_manager(self) -> Mapping[str, object]:
        off = "node-ipam", "node-route", "service-lb", "cloud-node-lifecycle"
        return {
            "kubeconfig": self.kubeconfig("kube-controller-manager"),
            "leader-elect": "false",
            "secure-port": 0,
            "controllers": ",".join(["*", *(f"-{name}-controller" for name in off)]),
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self.run / "sa.key",
            "root-ca-file": self.run / "ca.crt",
        }


def write_kubeconfig(
    path: Path, url: str, authority: Path, token: str, namespace: str = ""
) -> None:
    """A kubeconfig (JSON is YAML) with one user, who shows a token."""
    context = {"cluster": "test", "user": "test", "namespace": namespace or "default"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": context}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
