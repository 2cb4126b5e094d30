"""A node that runs pods: containerd, kubelet, kube-proxy, cluster DNS, in namespaces of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cluster.kubernetes.control_plane import ControlPlane
from cluster.kubernetes.packages import missing
from cluster.kubernetes.pause import PAUSE
from cluster.kubernetes.problems import ClusterError

NODE = "node"
NODE_IP = "172.30.0.1"
PODS = "10.244.0.0/16"
CONTAINERD_SOCKET = "containerd.sock"
_POD_SUBNET = "10.244.0.0/24"
_CGROUPS = Path("/sys/fs/cgroup")
_CONTAINERD = """version = 3
root = "{run}/containerd"
state = "{run}/containerd-state"
[grpc]
  address = "{run}/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE runc cannot lower it and no pod starts
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{tools}/cni"]
    conf_dir = "{run}/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.internal.v1.opt']
  path = "{run}/containerd-opt"
"""
# Names of Services. Nothing else is there, and says so at once.
_COREFILE = """.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def check_node() -> None:
    """Raises ClusterError where no node can be started, with the remedy."""
    if os.geteuid() != 0:
        raise ClusterError("a node needs root: it makes namespaces, bridges and containers")
    if lacking := missing():
        raise ClusterError(f"a node needs more packages: apt-get install {' '.join(lacking)}")


def namespaces() -> list[str]:
    """The command in front of the supervisor: its process is 1 of what it starts."""
    return ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


def start_node(plane: ControlPlane, tools: Path) -> None:
    """Start a control plane and a node for it, inside the namespaces, and wait for both (9 s)."""
    run, processes = plane.run, plane.processes
    # containerd's mounts must be seen by the kubelet and by runc, and by nobody outside.
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    _make_network()
    _make_cgroups(run)
    plane.start(serves_pods=True)
    socket = run / CONTAINERD_SOCKET
    _write_configuration(plane, tools)
    processes.start(
        "kube-scheduler",
        [f"--kubeconfig={plane.kubeconfig('kube-scheduler')}", "--leader-elect=false",
         "--secure-port=0"],
    )  # fmt: skip
    processes.start("containerd", ["--config", run / "containerd.toml"])
    ctr = [str(tools / "bin" / "ctr"), "-a", str(socket), "version"]
    processes.wait("containerd", lambda: _succeeds(ctr))
    if not (tools / "pause.tar").exists():
        raise ClusterError(f"a node needs a C compiler when the tools are built: remove {tools}")
    load_archive(tools, socket, tools / "pause.tar")
    processes.start(
        "kubelet",
        [f"--config={run}/kubelet.json", f"--kubeconfig={plane.kubeconfig('kubelet')}",
         f"--hostname-override={NODE}", f"--node-ip={NODE_IP}", f"--root-dir={run}/kubelet",
         f"--cert-dir={run}/kubelet-pki"],
    )  # fmt: skip
    processes.start("kube-proxy", [f"--config={run}/kube-proxy.json"])
    processes.start("coredns", ["-conf", run / "Corefile"])
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    processes.wait("the node", lambda: "True" in plane.ask("get", "node", NODE, "-o", ready))


def load_archive(tools: Path, socket: Path, archive: Path) -> None:
    """Put the images of an OCI archive on the node. Pods need `imagePullPolicy: IfNotPresent`."""
    command = [str(tools / "bin" / "ctr"), "-a", str(socket), "-n", "k8s.io"]
    done = subprocess.run(
        [*command, "images", "import", "--local", str(archive)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ClusterError(f"{archive} cannot be loaded: {done.stderr.strip()}")


def remove_cgroups(run: Path) -> None:
    """Remove what a node that has ended left in the cgroup trees."""
    name = _cgroup(run)
    for top in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def _write_configuration(plane: ControlPlane, tools: Path) -> None:
    run = plane.run
    (run / "containerd.toml").write_text(_CONTAINERD.format(run=run, tools=tools, pause=PAUSE))
    (run / "cni").mkdir(exist_ok=True)
    (run / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(run)))
    (run / "resolv.conf").write_text(f"nameserver {NODE_IP}\n")
    (run / "Corefile").write_text(_COREFILE.format(address=NODE_IP, kubeconfig=plane.kubeconfig()))
    (run / "kubelet.json").write_text(json.dumps(_kubelet(run)))
    (run / "kube-proxy.json").write_text(json.dumps(_kube_proxy(plane)))


def _pod_network(run: Path) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{run}/ipam",
            "ranges": [[{"subnet": _POD_SUBNET}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet(run: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{run / CONTAINERD_SOCKET}",
        "resolvConf": f"{run}/resolv.conf",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{run}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{_cgroup(run)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",
    }


def _kube_proxy(plane: ControlPlane) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(plane.kubeconfig("kube-proxy"))},
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "conntrack": {"maxPerCore": 0},
        # By default Services follow pods once a second at most; tests need not wait that long.
        "nftables": {"minSyncPeriod": "50ms"},
    }


def _make_network() -> None:
    """The node's address, on a bridge (a kernel may lack dummies); pods get theirs from CNI."""
    for command in (
        "link set lo up",
        "link add eth0 type bridge",
        "link add up0 type veth peer name up1",
        f"addr add {NODE_IP}/24 dev eth0",
        "link set up0 master eth0",
        "link set up0 up",
        "link set up1 up",
        "link set eth0 up",
        "route add default via 172.30.0.254 dev eth0",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _make_cgroups(run: Path) -> None:
    """The kubelet wants its root in every hierarchy (v1) or with the controllers on (v2)."""
    name = _cgroup(run)
    if (_CGROUPS / "cgroup.controllers").exists():
        (_CGROUPS / "cgroup.subtree_control").write_text("+cpu +memory +pids +cpuset")
        (_CGROUPS / name).mkdir(exist_ok=True)
        return
    hierarchies: Sequence[str] = (
        "cpu", "cpuacct", "cpuset", "memory", "pids", "systemd", "blkio", "freezer", "devices",
    )  # fmt: skip
    for hierarchy in hierarchies:
        base = _CGROUPS / hierarchy
        if not base.is_dir():
            continue
        (base / name).mkdir(exist_ok=True)
        if hierarchy == "cpuset":
            for file in ("cpuset.cpus", "cpuset.mems"):
                (base / name / file).write_text((base / file).read_text())


def _cgroup(run: Path) -> str:
    return f"modelrouter-{run.name}"


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
