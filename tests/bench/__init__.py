"""What the router costs beside a plain Envoy, Python proxies and no proxy at all.

`python -m bench` starts everything on this machine, measures it in turns and prints tables.
"""
