"""Faults at random between agents, hubs and store, while the network changes and traffic runs; and who judges what is left.

``laboratory`` has the processes, ``churn`` changes links and namespaces, ``talk`` makes traffic and counts it, ``faults`` are
what happens, ``history``, ``totals`` and ``graphs`` judge, each by what the scripts and ordinary tools know.
"""
