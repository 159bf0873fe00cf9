"""One line of the table: a figure, its baseline of the same run, their ratio, the target, and whether it is reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A measured figure.

    Attributes:
        name: what was measured.
        ours: the figure.
        unit: of ours and the baseline.
        baseline: the same of the baseline; None where nothing of the kind exists.
        against: what the baseline is.
        ratio: ours / baseline as measured pair by pair; None: of the two figures.
        most: the target is at most this.
        least: the target is at least this.
        of_ratio: the target is of the ratio, not of the figure.
        note: what else is to be known.

    """

    name: str
    ours: float
    unit: str
    baseline: float | None = None
    against: str = ""
    ratio: float | None = None
    most: float | None = None
    least: float | None = None
    of_ratio: bool = False
    note: str = ""

    @property
    def quotient(self) -> float | None:
        if self.ratio is not None or not self.baseline:
            return self.ratio
        return self.ours / self.baseline

    @property
    def verdict(self) -> str:
        value = self.quotient if self.of_ratio else self.ours
        if value is None or (self.most is None and self.least is None):
            return ""
        reached = (self.most is None or value <= self.most) and (self.least is None or value >= self.least)
        return "ok" if reached else "SHORT"

    def __str__(self) -> str:
        baseline = "" if self.baseline is None else f"{number(self.baseline)} {self.against}"
        ratio = "" if self.quotient is None else f"{self.quotient:.3g}"
        limit = self.most if self.most is not None else self.least
        target = "" if limit is None else f"{'≤' if self.most is not None else '≥'} {limit:,g}{' ×' if self.of_ratio else ''}"
        note = f"  ({self.note})" if self.note else ""
        ours = f"{number(self.ours)} {self.unit}"
        columns = f"{self.name:46} {ours:>18}  {baseline:30} {ratio:>7}  {target:>11}  {self.verdict:5}"
        return (columns + note).rstrip()


HEAD = f"{'what':46} {'ours':>18}  {'baseline':30} {'ratio':>7}  {'target':>11}"


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the quotients of neighbours: a machine that slows down for both does not show in it."""
    return statistics.median(mine / its for mine, its in zip(ours, theirs, strict=True))
