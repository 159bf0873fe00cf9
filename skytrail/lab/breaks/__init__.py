"""Faults of a network, made by ordinary commands at a place that a seed chooses, and undone exactly.

Here belongs one module a group of kinds: from a plan to all faults of that kind that are possible in it, as data. Never here:
anything that tells an agent or a hub of it.
"""
