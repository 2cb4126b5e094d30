"""The real vLLM in pods that the operator makes."""
