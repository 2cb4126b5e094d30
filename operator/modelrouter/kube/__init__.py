"""A small asynchronous client of the Kubernetes API, for the operator and for the agent.

Objects are plain dicts as the API server sends them: with a thousand of them, a model class for
each kind would cost more than the work that is done with them. `connection` finds the cluster,
`client` reads and writes, `watching` follows changes for as long as the process lives.
"""
