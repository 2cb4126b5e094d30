"""The Kubernetes API as the operator and the agent use it: reading, watching, applying."""
