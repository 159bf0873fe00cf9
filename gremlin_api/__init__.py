"""The Gremlin API: parser, traversal, executor and their HTTP endpoints (from the third step on).

Text of a user is parsed and checked, never evaluated. Never here: a store's own query language outside the push-down, or a
probe; the graph is reached through the interface of topology's store alone.
"""
