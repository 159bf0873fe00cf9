"""The command line, and with it the composition roots: the only modules that join exporters, topology and gremlin_api.

Here belong the parsing of arguments, the wiring of parts, and what a command prints. Never here: logic that a library user
would miss; a command calls it, it does not contain it. Importing this package loads no heavy library.
"""
