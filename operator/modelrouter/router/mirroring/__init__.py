"""Copies of requests: what they cost, and how the answers to them compare.

Envoy sends the copies and no byte of them comes here, unless answers are compared: then Envoy's Lua
hands over the prompt and both answers (`pairs`), after they have passed. They are compared in a
thread at leisure (`comparing`), an evaluator may be asked which one is better (`evaluating`), and
what is kept then is hashes, lengths, times and scores, never a text (`report`).
"""
