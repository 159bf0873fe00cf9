"""A laboratory on one machine: namespaces that act as hosts, each with an agent, and one hub.

Here belong the plans of networks (``two_hosts``, ``fabric``: data), what builds and removes them by ordinary commands, traffic
and faults. Never here: anything that an agent or a hub could learn from but by looking at the network itself.
"""
