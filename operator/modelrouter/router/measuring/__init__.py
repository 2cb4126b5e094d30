"""What the arms of running canaries did in the last hour, for whoever judges them.

Each pod measures its own requests, from the access log; the operator adds the pods up.
"""
