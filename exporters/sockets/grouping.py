"""Rows that are equal in some columns, and runs of rows, by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def distinct(*columns: NDArray[Any]) -> tuple[list[tuple[Any, ...]], NDArray[np.intp]]:
    """The different rows of columns of one length, as plain values, and which one each row is."""
    rows = np.empty(len(columns[0]), [(f"f{number}", column.dtype) for number, column in enumerate(columns)])
    for name, column in zip(rows.dtype.names or (), columns, strict=True):
        rows[name] = column
    found, which = np.unique(rows, return_inverse=True)
    return found.tolist(), which


def ranges(begin: NDArray[np.intp], end: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All numbers of several ranges [begin, end): which range each is of, ascending, and the numbers."""
    counts = end - begin
    which = np.repeat(np.arange(len(begin)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + begin[which]
