"""What a query needs beyond its route: steps that show packets need a role of their own. See ``skytrail.http.roles``."""

from __future__ import annotations

from gremlin_api.language.errors import QueryError
from gremlin_api.language.skydive import parse_skydive
from skytrail.http.guard import Scope
from skytrail.http.roles import ROLE, STEPS, Role

_NAMES = tuple(name.lower() for name in STEPS)


def lacking(scope: Scope, text: str) -> str | None:
    """Which role who asks has not and a query of Skydive's dialect needs, in words; None: it may be answered."""
    has: Role = scope.get(ROLE, Role.READ)
    if has is Role.ADMIN or not any(name in text.lower() for name in _NAMES):
        return None
    try:
        steps = parse_skydive(text)
    except QueryError:
        return None  # it will be told so
    return next((f"{one.name} needs the role {STEPS[one.name]}" for one in steps if STEPS.get(one.name, has) > has), None)
