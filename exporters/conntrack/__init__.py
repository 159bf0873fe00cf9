"""The conntrack collector: address translation (NAT), so that a conversation can be followed to what it becomes.

Here belong conntrack's messages, the table of translations, and what flows are told of them. Never here: flow records
(``exporters.flows``; but their ends are named as there), entering namespaces (``skytrail.kernel``).
"""
