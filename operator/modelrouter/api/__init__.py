"""The resources that users write, and the document that routers read.

`ModelPool` and `ModelRoute` are what people apply; `RouterConfig` is what the operator (or the
standalone router) compiles from them for one router. Defaults live here and nowhere else.
"""
