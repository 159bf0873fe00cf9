"""Address translation without a way back."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Fault, legs
from skytrail.lab.plan import Acts, Command, Plan

_NOBODY = ("203.0.113.99", "2001:db8:113::99")


def no_returns(plan: Plan) -> Iterator[Fault]:
    """Who is outside cannot answer, or the answer is not translated back."""
    for leg in legs(plan):
        place = leg.hop.place
        translator = plan.translators.get(place.node)
        if (
            translator is None
            or leg.direction == "back"
            or leg.hop.acts is not Acts.ROUTE
            or not leg.way.translated
            or leg.hop.outer
        ):
            continue
        device = translator.interface
        flush = Command(place, "nft flush chain inet nat postrouting")
        right = tuple(Command(place, f"nft add rule inet nat postrouting {rule}") for rule in translator.rules)
        wrong = tuple(
            Command(place, f"nft add rule inet nat postrouting oifname {device} {what}")
            for what in (
                f"ip daddr 203.0.113.0/24 snat ip to {_NOBODY[0]}",
                f"ip6 daddr 2001:db8:113::/64 snat ip6 to {_NOBODY[1]}",
            )
        )
        raw = (
            "add table inet raw; add chain inet raw prerouting { type filter hook prerouting priority -300; }; "
            f"add rule inet raw prerouting iifname {device} notrack"
        )
        for why, do, undo in (
            ("addresses are not translated: who is outside knows no way back", (flush,), (flush, *right)),
            (f"addresses are translated to {_NOBODY[leg.family == 6]}, which nobody has", (flush, *wrong), (flush, *right)),
            (
                f"what comes by {device} is not tracked: it is not translated back",
                (Command(place, f"nft '{raw}'"),),
                (Command(place, "nft delete table inet raw"),),
            ),
        ):
            yield Fault("nat", place, device, "back", leg.exchange, "dead", why, do, undo)
