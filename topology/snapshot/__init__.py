"""The graph of one moment as a file, in Skydive's JSON or in TinkerPop's GraphSON 3, and back.

What belongs here: pure translation between revisions and these two formats, and a store that answers from such a file. Never:
I/O, and formats of a whole history (that is what a store's backup is).
"""
