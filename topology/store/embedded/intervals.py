"""An index of intervals on B-trees: the relational interval tree. Pure.

Every integer is a node of one virtual binary tree: the more zeros it ends in, the higher it stands. An interval belongs to the
highest node in it (its *fork*). The intervals that hold a point have their forks on the point's way from the root, so that
index look-ups at some 50 nodes find them all, however many others there are, and late or changed ones need no rebuilding.

Source: Kriegel, Pötke, Seidl: Managing Intervals Efficiently in Object-Relational Databases, VLDB 2000.
"""

from __future__ import annotations

TIME_BITS = 52
"""Times are below 2**52 µs: until the year 2112."""

LATEST = 2**TIME_BITS - 1


def fork(begins: int, ends: int) -> int:
    """The fork of the half-open interval [begins, ends), 0 < begins < ends ≤ :data:`LATEST` + 1."""
    last = ends - 1
    level = ((begins - 1) ^ last).bit_length() - 1
    return last >> level << level


def path(point: int) -> tuple[list[int], list[int]]:
    """The nodes above a point, without itself: those left of it (smaller), and those right of it.

    A fork on the left: its interval holds the point if it ends behind it; on the right: if it begins at or before it.
    """
    left: list[int] = []
    right: list[int] = []
    zeros = (point & -point).bit_length() - 1
    for level in range(zeros + 1, TIME_BITS + 1):
        node = (point >> level | 1) << level if not point >> level & 1 else point >> level << level
        (left if node < point else right).append(node)
    return left, right
