"""The real vLLM as a process on this machine."""
