"""How fast a change in the cluster becomes a change of traffic, and what the operator costs.

Real are the API server, the operator under the chart's rights, the agent, Envoy and every request;
a router pod's processes run on this machine, and its status is written as a kubelet would.
"""
