"""The address book of the graph: which entries follow from its elements, now, and at any moment of its past.

Here belongs what makes entries of elements, follows the store's feed, and names the ends of past flows. It is no second truth:
all is derived from revisions, and nothing is kept. Never here: the wire, and how agents use a book.
"""
