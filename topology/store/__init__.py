"""Stores: where the graph and its history are kept. One interface, one contract suite, several stores.

Here belong the interface, the stores and what they share. Never here: probes, facts, linkers, the query language.
"""
