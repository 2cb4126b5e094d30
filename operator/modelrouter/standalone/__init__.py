"""The router without Kubernetes: manifests from files, Envoy and the agent on this machine."""
