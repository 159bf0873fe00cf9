"""Probes: each watches one source of truth of a host or a cluster and says what it sees as facts.

Here belongs one package for each source (netlink, ethtool …), its input, its translation to facts and what joins the two
kept apart. Never here: the graph, a store, edges that need two sources (linkers), or one probe's import of another.
"""
