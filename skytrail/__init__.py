"""What every part of Skytrail shares.

Here belong the command line, the settings, logs, identities (TID, tracking ID), errors, what we ask of the kernel (network
namespaces, link events), the HTTP server and, later, the wire between agent and hub and the client of container runtimes.
Never here: a collector, a probe, a query. Only ``skytrail.cli`` joins the other packages; nothing else here imports them.
"""

__version__ = "0.1.0"
