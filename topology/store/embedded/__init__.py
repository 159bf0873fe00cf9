"""The default store: the live graph in memory, its history in one SQLite file.

Here belong the file's schema and migrations, the index of intervals, the traces of what elements had, reading, writing,
retention, backup. Never here: another store, or what a revision means (``topology.elements``).
"""
