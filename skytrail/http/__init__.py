"""The one HTTP server of a process: ASGI, TLS, authentication, the Host check, and the pages every process has.

Here belong the listener, the guard before every request, /healthz, /readyz and /api/status. Never here: what a collector or
a query answers; those modules hand their Flask blueprints or ASGI applications to the composition root.
"""
