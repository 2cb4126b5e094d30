"""The sidecar of Envoy: takes RouterConfig, decides each request, configures Envoy and counts."""
