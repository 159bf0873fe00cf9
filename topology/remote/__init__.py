"""Reports over the wire: from the probes of an agent, through its outbox, to the graph of a hub.

Here belong reports as messages, the outbox that keeps what no hub has taken, and both ends of their way. Never here: the
connection and its versions (``skytrail.wire``), what becomes of a report (``topology.reconcile``).
"""
