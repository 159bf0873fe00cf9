"""The interfaces collector: what the kernel counts and says of interfaces, queues, neighbours and protocols, by namespace.

``source`` reads a namespace in batches, ``drivers`` asks drivers for statistics of their own (I/O); ``tables`` and
``textfiles`` decode (pure); ``collector`` joins them. Never here: flows, sockets one by
one, changes as they happen (``topology``), the protocol of an output (``exporters.outputs``).
"""
