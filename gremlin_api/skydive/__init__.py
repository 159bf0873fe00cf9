"""Skydive's dialect: its steps as the interpreter's, and its answers' JSON. The grammar is in ``gremlin_api.language``."""
