"""The wire between agents and hubs: its messages, its versions, its remote procedures.

The messages stand in ``wire.proto``, from which ``make wire`` generates ``wire_pb2``. Never here: what a report means
(``topology.remote``), the command line.
"""
