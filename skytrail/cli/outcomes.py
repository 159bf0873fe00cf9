"""Exit statuses of commands that look for what is wrong: beside 1, we failed, and 2, the question is none."""

from __future__ import annotations

BROKEN = 3
"""Packets do not get there."""

UNKNOWN = 4
"""What is known does not tell whether they do."""
