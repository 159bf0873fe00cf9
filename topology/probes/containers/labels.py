"""Which labels of containers become metadata. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")
"""``DB_PASSWORD``, ``db.pwd``, ``dbPwd`` and ``APIKey2`` have two each."""


class LabelFilter:
    """Chooses labels by their keys.

    Args:
        allowed: patterns (``*``, ``?``, ``[…]``) of keys that are kept.
        denied: of those that are not, whatever ``allowed`` says, and of single words of theirs: ``key`` denies ``pgp_key``
            and ``apiKey``, but not ``keyboard``. Upper and lower case are the same in both.
    """

    def __init__(self, allowed: Iterable[str], denied: Iterable[str]) -> None:
        self._allowed, self._denied = _any_of(allowed), _any_of(denied)

    def chosen(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Those that are kept."""
        return {key: value for key, value in labels.items() if self._allowed.match(key) and not self._denies(key)}

    def _denies(self, key: str) -> bool:
        return any(self._denied.match(text) for text in (key, *_WORD.findall(key)))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)", re.IGNORECASE)
