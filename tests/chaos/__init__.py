"""Random faults on a real Kubernetes while a client checks every token: `make chaos`."""
