"""What people are told of a shadow route, as the route that it follows comes and goes."""

from __future__ import annotations

from cluster.control_plane.controller.operators import Operator
from cluster.control_plane.controller.resources import ModelServer, Resources
from cluster.control_plane.controller.routerpods import RouterPods
from component.router.manifests import pool, route

ACCEPTED = ("True", "Accepted")
MISSING = ("False", "ShadowedRouteNotFound")
SERVED = {"Programmed": ("True", "Programmed"), "Ready": ("True", "Ready")}
AT_WORK = {"Accepted": ACCEPTED, "Programmed": ("True", "Programmed"), "Ready": ("True", "Shadow")}


def test_a_shadow_from_its_lonely_beginning_to_its_promotion(
    operator: Operator, resources: Resources, router_pods: RouterPods, namespace: str
) -> None:
    here, server = resources, ModelServer()
    shadow = route("trial", pools=["llama"], models=["live"], shadowOf="live")
    here.apply(pool("llama", server.address, model="m"), shadow)
    here.apply(route("other", pools=["llama"]))
    router_pods.start()
    here.expect("mroute", "other", within=60, **SERVED)
    here.expect("mroute", "trial", Accepted=ACCEPTED, ResolvedRefs=MISSING, Ready=MISSING)
    message = here.message("mroute", "trial", "ResolvedRefs")
    assert f"router default has no ModelRoute {namespace}/live; create it" in message

    here.apply(route("live", pools=["llama"]))
    here.expect("mroute", "trial", **AT_WORK)
    # It claims no model, though it is the older one.
    here.expect("mroute", "live", Accepted=ACCEPTED, **SERVED)
    status = here.get("mroute", "trial")["status"]
    assert "url" not in status
    assert "traffic" not in status
    assert "serves no traffic" in here.message("mroute", "trial", "Ready")

    here.apply(route("second", pools=["llama"], shadowOf="trial"))
    here.expect("mroute", "second", Accepted=("False", "ShadowOfShadow"))

    here.delete("mroute", "live")
    here.expect("mroute", "trial", ResolvedRefs=MISSING, Ready=MISSING)
    assert ("Warning", "ShadowedRouteNotFound") in here.events("ModelRoute", "trial")

    # Without shadowOf it is a route like any other, with the models that waited.
    here.apply(route("trial", pools=["llama"], models=["live"]))
    here.expect("mroute", "trial", Accepted=ACCEPTED, **SERVED)
    assert here.get("mroute", "trial")["status"]["url"]
