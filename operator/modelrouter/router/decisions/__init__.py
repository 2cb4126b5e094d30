"""The decision server: Envoy asks it about each request, over a Unix socket."""
