"""The pods of a `vllm` pool: what their statuses come to, in one reason and one line."""
