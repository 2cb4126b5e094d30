"""The real vLLM under the operator and the router: `make test-vllm`."""
