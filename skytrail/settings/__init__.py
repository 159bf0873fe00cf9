"""One tree of typed, frozen settings, from file, environment and flags, in rising order.

Here belong the declaration of each key (type, unit, default, reason), the loading and its errors, and the generated
reference. Never here: a reader of the environment anywhere else, mutable state, or a default that a module keeps to itself.
"""
