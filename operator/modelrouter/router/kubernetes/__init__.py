"""The agent's side of the cluster: configuration from ConfigMaps, keys from Secrets, endpoints
from EndpointSlices, all by watching; nothing is ever written."""
