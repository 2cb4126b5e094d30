"""The kinds of Kubernetes objects that this project reads or writes, and objects as plain data."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
"""One Kubernetes object, as JSON has it."""


class Resource(NamedTuple):
    """A kind of object and where the API server serves it."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What stands in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL's path of one object, of a namespace's objects, or of all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


MODEL_ROUTES = Resource("modelrouter.dev", "v1alpha1", "ModelRoute", "modelroutes")
MODEL_POOLS = Resource("modelrouter.dev", "v1alpha1", "ModelPool", "modelpools")
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
SECRETS = Resource("", "v1", "Secret", "secrets")
SERVICES = Resource("", "v1", "Service", "services")
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts")
PODS = Resource("", "v1", "Pod", "pods")
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENTS = Resource("events.k8s.io", "v1", "Event", "events")

KNOWN = (
    MODEL_ROUTES,
    MODEL_POOLS,
    NAMESPACES,
    CONFIG_MAPS,
    SECRETS,
    SERVICES,
    SERVICE_ACCOUNTS,
    PODS,
    PERSISTENT_VOLUME_CLAIMS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ROLES,
    ROLE_BINDINGS,
    POD_DISRUPTION_BUDGETS,
    SCALED_OBJECTS,
    LEASES,
    EVENTS,
)


def resource_of(found: Object) -> Resource:
    """The resource of an object, by its `apiVersion` and `kind`.

    Raises `KeyError` for a kind that this project does not deal with.
    """
    return _BY_KIND[found["apiVersion"], found["kind"]]


def namespace_of(found: Object) -> str:
    """The object's namespace; empty for what belongs to the whole cluster."""
    return str(found["metadata"].get("namespace", ""))


def name_of(found: Object) -> str:
    """The object's name."""
    return str(found["metadata"]["name"])


_BY_KIND = {(resource.api_version, resource.kind): resource for resource in KNOWN}
