"""Feedback: what callers thought of an answer, joined with the record of its request.

A router knows the requests that it has served itself. Clients reach its pods in turn, so a pod
that does not know a request asks the others.
"""
