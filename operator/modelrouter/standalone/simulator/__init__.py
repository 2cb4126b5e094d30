"""A simulated vLLM: the OpenAI API, the metrics and the manners of a vLLM server, without a model.

It stands in for vLLM wherever a real one would be too slow or too large: behind a router on a
laptop, as a pod's image in a cluster, and in tests that need a server to fail on command.
"""
