"""The address book: who has an address, and since when; what a hub derives of its graph, and agents name flows by.

Here belongs what both need: entries, the book, its changes as bytes. Never here: how entries follow from elements
(``topology.addresses``), the wire (``skytrail.wire``), flows (``exporters.flows.names``).
"""
