"""A pod of a `vllm` pool, as the API server has it → whether it serves, and if not, why.

Everything is in the pod's status, so no Events are read:
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from modelrouter.api.quantities import milliseconds
from modelrouter.plan.servers.crashes import last_words, shorten
from modelrouter.plan.servers.durations import duration_text, seconds_between
from modelrouter.plan.servers.facts import ServerPod, Trouble
from modelrouter.plan.servers.scheduling import UNSCHEDULABLE, unschedulable, volume_not_bound

IMAGE_PULL_FAILED, CRASH_LOOPING = "ImagePullFailed", "CrashLooping"
CONTAINER_NOT_STARTED, PROBE_FAILING = "ContainerNotStarted", "ProbeFailing"
MODEL_LOADING, POD_STARTING = "ModelLoading", "PodStarting"

_PULLS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NOT_STARTED = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
_STOPPED_FROM_OUTSIDE = (137, 143)
"""Exit codes of a process that SIGKILL or SIGTERM has ended."""
_BINDING_SECONDS = 60
FRESH_SECONDS = 15
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(?:: \w+: )?')
_SECRET = re.compile(r'^secret "([^"]+)" not found|secrets? "([^"]+)" not found')
_SECRET_KEY = re.compile(r"couldn't find key (\S+) in Secret (\S+)")

Object = Mapping[str, Any]


def read_server_pod(
    pod: Object, now: datetime, startup_timeout: str, claim_phase: str = ""
) -> ServerPod | None:
    """The pod; None if it goes or has ended. `claim_phase` is that of its model cache."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    if metadata.get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return None
    name, conditions = metadata["name"], _conditions(status)
    if conditions.get("Ready", {}).get("status") == "True":
        since = conditions["Ready"].get("lastTransitionTime")
        return ServerPod(name, True, seconds_between(since, now) < FRESH_SECONDS)
    look = _Look(name, metadata.get("namespace", ""), now, startup_timeout)
    claim = claim_phase if look.lasts(metadata) else ""
    trouble = look.at_scheduling(conditions, claim) or look.at_containers(status, conditions)
    return ServerPod(name, False, trouble=trouble or look.starting(metadata, conditions))


class _Look:
    """A look at one pod that is not ready."""

    def __init__(self, pod: str, namespace: str, now: datetime, startup_timeout: str) -> None:
        self._pod, self._namespace, self._now = pod, namespace, now
        self._startup_timeout = startup_timeout

    def lasts(self, metadata: Object) -> bool:
        """Whether the pod is so old that its volume should have been bound."""
        age = seconds_between(metadata.get("creationTimestamp"), self._now)
        return age >= _BINDING_SECONDS

    def at_scheduling(self, conditions: Mapping[str, Object], claim_phase: str) -> Trouble | None:
        """Whether it has a node."""
        scheduled = conditions.get("PodScheduled", {})
        if scheduled.get("status") == "True":
            return None
        message = scheduled.get("message") or ""
        if scheduled.get("status") == "False":
            if scheduled.get("reason") == "SchedulingGated":
                return Trouble(UNSCHEDULABLE, f"pod {self._pod} waits for a scheduling gate")
            if claim_phase != "Pending" or scheduled.get("reason") == "Unschedulable":
                return unschedulable(self._pod, shorten(message))
        if claim_phase == "Pending":
            told = shorten(message) or "its PersistentVolumeClaim is not bound"
            return volume_not_bound(self._pod, told)
        return None

    def at_containers(self, status: Object, conditions: Mapping[str, Object]) -> Trouble | None:
        """Whether its containers run and are ready."""
        for container in status.get("initContainerStatuses") or ():
            if trouble := self._waiting(container) or self._crash(container):
                return trouble
        lost = conditions.get("Ready", {}).get("lastTransitionTime")
        troubles = [
            trouble
            for container in status.get("containerStatuses") or ()
            if not container.get("ready")
            and (
                trouble := self._waiting(container)
                or self._failing(container, lost)
                or self._crash(container)
                or self._loading(container)
            )
        ]
        return next((t for t in troubles if t.reason != MODEL_LOADING), next(iter(troubles), None))

    def starting(self, metadata: Object, conditions: Mapping[str, Object]) -> Trouble:
        """Nothing is wrong, it is only not there yet."""
        scheduled = conditions.get("PodScheduled", {})
        if scheduled.get("status") != "True":
            since, what = metadata.get("creationTimestamp"), "has been waiting for a node"
        else:
            since = scheduled.get("lastTransitionTime")
            what = "has been pulling its image or mounting its volumes"
        lasts = duration_text(seconds_between(since, self._now))
        return Trouble(
            POD_STARTING,
            f"pod {self._pod} {what} {lasts}; if it lasts, see: {self._kubectl('describe pod')}",
        )

    def _waiting(self, container: Object) -> Trouble | None:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message") or ""
        if reason in _PULLS:
            told = shorten(_BACK_OFF.sub("", message)) or reason
            return Trouble(
                IMAGE_PULL_FAILED,
                f"image {container.get('image')} of pod {self._pod} cannot be pulled: {told}; "
                "correct spec.vllm.image, or give the registry's credentials in "
                "spec.vllm.podTemplate as imagePullSecrets",
            )
        if reason not in _NOT_STARTED:
            return None
        if found := _SECRET.search(message):
            secret = found[1] or found[2]
            return Trouble(
                "SecretNotFound",
                f"there is no Secret {self._namespace}/{secret}, which pod {self._pod} needs; "
                "create it",
            )
        if found := _SECRET_KEY.search(message):
            return Trouble(
                "SecretKeyNotFound",
                f"Secret {found[2]} has no key {found[1]}, which pod {self._pod} needs; add it",
            )
        return Trouble(
            CONTAINER_NOT_STARTED,
            f"container {container.get('name')} of pod {self._pod} cannot be started: "
            f"{shorten(message) or reason}; look at spec.vllm.podTemplate",
        )

    def _failing(self, container: Object, lost: str | None) -> Trouble | None:
        """A container that was ready and is not any more."""
        running = (container.get("state") or {}).get("running") or {}
        began = running.get("startedAt")
        if not began or container.get("started") is False or not lost or lost <= began:
            return None
        lasts = duration_text(seconds_between(lost, self._now))
        return Trouble(
            PROBE_FAILING,
            f"pod {self._pod} runs, but has not answered its readiness probe, GET /health, "
            f"{lasts}; see: {self._kubectl('logs')}",
        )

    def _crash(self, container: Object) -> Trouble | None:
        state = container.get("state") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
        if not ended or _completed(container, ended):
            return None
        count = max(int(container.get("restartCount") or 0), 1)
        times = "once" if count == 1 else f"{count} times"
        code = ended.get("exitCode")
        if ended.get("reason") == "OOMKilled":
            return Trouble(
                CRASH_LOOPING,
                f"pod {self._pod} was killed {times} because it took more memory than its limit "
                "(OOMKilled); raise limits.memory in spec.vllm.resources",
            )
        if code in _STOPPED_FROM_OUTSIDE or (code == 0 and self._took_all_its_time(ended)):
            return self._killed(ended, times)
        said = last_words(ended.get("message") or "")
        reason = ended.get("reason") or ""
        what = f"and last said: {said}" if said else "without a word"
        kind = f", {reason}" if reason not in ("", "Error", "Completed") else ""
        return Trouble(
            CRASH_LOOPING,
            f"pod {self._pod} ended {times} (exit code {code}{kind}) {what}; "
            f"see: {self._kubectl('logs --previous')}",
        )

    def _killed(self, ended: Object, times: str) -> Trouble:
        if self._took_all_its_time(ended):
            advice = (
                f"its model was not loaded within {self._startup_timeout}; "
                "raise spec.vllm.startupTimeout if it only needs longer"
            )
        else:
            advice = f"see: {self._kubectl('logs --previous')}"
        return Trouble(
            PROBE_FAILING,
            f"pod {self._pod} was restarted {times}, as GET /health was not answered: {advice}",
        )

    def _loading(self, container: Object) -> Trouble | None:
        running = (container.get("state") or {}).get("running")
        if not running:
            return None
        lasts = duration_text(seconds_between(running.get("startedAt"), self._now))
        return Trouble(
            MODEL_LOADING,
            f"pod {self._pod} has been loading the model {lasts}; it may take "
            f"{self._startup_timeout} (spec.vllm.startupTimeout)",
        )

    def _took_all_its_time(self, ended: Object) -> bool:
        finished = ended.get("finishedAt")
        if not finished or not ended.get("startedAt"):
            return False
        end = datetime.fromisoformat(finished.replace("Z", "+00:00"))
        # Times are whole seconds.
        return (
            seconds_between(ended["startedAt"], end) + 2
            >= milliseconds(self._startup_timeout) / 1000
        )

    def _kubectl(self, command: str) -> str:
        return f"kubectl {command} -n {self._namespace} {self._pod}"


def _completed(container: Object, ended: Object) -> bool:
    """Whether an init container has done what it should."""
    return ended.get("exitCode") == 0 and bool(container.get("ready"))


def _conditions(status: Object) -> dict[str, Object]:
    found: Iterable[Object] = status.get("conditions") or ()
    return {condition.get("type", ""): condition for condition in found}
