"""Conditions on owners of past flows, as agents are asked: whom they did not know, the hub names after they answered. Pure."""

from __future__ import annotations

import ipaddress

from skytrail.addresses.book import Book, Owner
from skytrail.asking.terms import Compare, Either, Every, Not, Term, compiled

OWNER, NETWORK, SIDES = "Owner", "Network", ("A", "B")
"""Keys of a flow's JSON, and of both."""

_MOST = 1000  # addresses that agents are asked for; of more, all are
_ALWAYS, _NEVER = Every(()), Either(())


class Loosening:
    """Makes terms that all flows meet which meet a term once they are named.

    Args:
        book: that they are named by.
        begin: since when it is known, ms: those that began before are named by another one.
    """

    def __init__(self, book: Book, begin: int = 0) -> None:
        self._book, self._before = book, Compare("Start", "lt", (begin,))

    def maybe(self, term: Term) -> Term:
        """What each flow meets that may meet the term."""
        match term:
            case Compare():
                return self._compare(term)
            case Every():
                return Every(tuple(map(self.maybe, term.terms)))
            case Either():
                return Either(tuple(map(self.maybe, term.terms)))
            case Not():
                return Not(self._surely(term.term))

    def _surely(self, term: Term) -> Term:
        """What only those meet that meet the term, whoever is named."""
        match term:
            case Compare():
                head, _, rest = term.key.partition(".")
                if head != OWNER:
                    return term
                side = rest.partition(".")[0]
                return Every((term, Compare(f"{OWNER}.{side}", "there"))) if side else _NEVER
            case Every():
                return Every(tuple(map(self._surely, term.terms)))
            case Either():
                return Either(tuple(map(self._surely, term.terms)))
            case Not():
                return Not(self.maybe(term.term))

    def _compare(self, term: Compare) -> Term:
        head, _, rest = term.key.partition(".")
        if head != OWNER:
            return term
        side, test = rest.partition(".")[0], compiled(term)
        if not side:
            return _ALWAYS
        if side not in SIDES or test({}):  # an end that nobody named meets it as it is
            return term
        unnamed: Term = Compare(f"{OWNER}.{side}", "missing")
        met: dict[Owner, bool] = {}
        found: list[str] = []
        for address, owners in self._book.owners():
            for owner in owners:
                if owner not in met:
                    met[owner] = test({OWNER: {side: owner.shown()}})
            if any(met[owner] for owner in owners):
                found.append(str(ipaddress.ip_address(address)))
        if len(found) <= _MOST:
            unnamed = Every((unnamed, Either((Compare(f"{NETWORK}.{side}", "within", tuple(found)), self._before))))
        return Either((term, unnamed))
