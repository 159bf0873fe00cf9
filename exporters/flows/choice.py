"""Which interfaces are captured: the patterns of ``flow.interfaces``, and what kind of packets a link carries."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

from exporters.bpf import layout
from skytrail.errors import SettingsError
from skytrail.kernel.linkmessages import ARPHRD_ETHER, ARPHRD_LOOPBACK, Link

# uapi/linux/if_arp.h
_ETHERNET = frozenset({ARPHRD_ETHER, ARPHRD_LOOPBACK})
_RAW = frozenset({512, 519, 768, 769, 776, 778, 823, 65534})
"""PPP, RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE (tun, wireguard): the packet begins with its IP header."""

_NAME_MAX = 200
_NESTED = re.compile(r"[*+}]\)?[*+{]|\([^)]*[*+][^)]*\)[*+{]")


def link_type(link: Link) -> int:
    """``enum link_type`` of an interface."""
    if link.arphrd in _ETHERNET:
        return layout.LINK_ETHERNET
    return layout.LINK_RAW if link.arphrd in _RAW else layout.LINK_OTHER


def is_loopback(link: Link) -> bool:
    """Whether packets leave and come back on it at once."""
    return link.arphrd == ARPHRD_LOOPBACK


class Choice:
    """Patterns, in order: a glob (``eth*``), ``~regex``, ``type:kind``; ``!`` in front takes away what came before.

    Loopback is chosen only by a pattern that names it: one without a wildcard, or a regular expression or type that
    matches it.

    Args:
        patterns: as ``flow.interfaces``; if the first takes away, all are there to begin with.

    Raises:
        SettingsError: a regular expression that does not compile, or that could take for ever.

    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._tests = [(not pattern.startswith("!"), _test(pattern.removeprefix("!"))) for pattern in patterns]
        self._default = bool(patterns) and patterns[0].startswith("!")

    def wants(self, link: Link) -> bool:
        """Whether to capture on a link, once it is up."""
        chosen = self._default and not is_loopback(link)
        for adds, matches in self._tests:
            if matches(link):
                chosen = adds
        return chosen


def _test(pattern: str) -> Callable[[Link], bool]:
    if pattern.startswith("type:"):
        kind = pattern.removeprefix("type:")
        return lambda link: (link.kind or ("loopback" if is_loopback(link) else "device")) == kind
    if pattern.startswith("~"):
        expression = _regex(pattern[1:])
        return lambda link: expression.fullmatch(link.name) is not None
    if any(character in pattern for character in "*?["):
        return lambda link: not is_loopback(link) and fnmatch.fnmatchcase(link.name, pattern)
    return lambda link: link.name == pattern


def _regex(text: str) -> re.Pattern[str]:
    if len(text) > _NAME_MAX or _NESTED.search(text):
        raise SettingsError(f"flow.interfaces: '~{text}': repeats inside repeats are not allowed; write it without")
    try:
        return re.compile(text)
    except re.error as error:
        raise SettingsError(f"flow.interfaces: '~{text}' is not a regular expression: {error}") from error
