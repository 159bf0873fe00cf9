"""Linkers: edges that need the facts of two sources, most often of two hosts.

Each reads evidence from interfaces and joins what fits, both as pure functions; what it says are facts of a source of its own,
so that an edge goes when its evidence does. Never here: what one probe can tell alone, and I/O but the store's feed.
"""
