"""Configuration of Envoy while it runs: a delta ADS server over a Unix socket.

`Store` holds what Envoy should have; `serve` answers every Envoy that connects and tells the store
what each has acknowledged.
"""

from modelrouter.router.discovery.lane import Rejection
from modelrouter.router.discovery.resources import ResourceSet
from modelrouter.router.discovery.server import discovery_handler, serve
from modelrouter.router.discovery.store import Store

__all__ = ["Rejection", "ResourceSet", "Store", "discovery_handler", "serve"]
