from __future__ import annotations

import random

from support.linkoracle import dump
from support.netlab import Net
from support.routelab import make_routes, numeric_json

from topology.probes.netlink.routedata import NextHop, Route, decode_route, route_dump_request
from topology.probes.netlink.routingtables import routing_tables


def route(prefix: str, *hops: NextHop, table: int = 254, protocol: int = 3, priority: int = 0, source: str = "") -> Route:
    family = 10 if ":" in prefix else 2
    return Route(family, table, prefix, protocol, "global", "unicast", prefsrc=source, priority=priority, hops=hops)


ROUTES = [
    route("10.0.0.0/24", NextHop(ifindex=3), protocol=2, source="10.0.0.1"),
    route("0.0.0.0/0", NextHop("10.0.0.9", 3), priority=100),
    route("0.0.0.0/0", NextHop("10.0.0.10", 3), priority=50),
    route("9.0.0.0/8", NextHop("10.0.0.9", 3), NextHop("10.1.0.9", 4, weight=5)),
    route("::/0", NextHop("fe80::1", 3)),
    route("10.7.0.0/16", NextHop("fe80::1", 3, encapsulation="mpls", labels=(7,)), table=1000),
    route("10.8.0.0/16", NextHop("10.1.0.9", 4)),
    route("10.9.0.0/16"),
]


def test_an_interfaces_tables_have_skydives_shape() -> None:
    assert routing_tables(ROUTES, 3) == [
        {
            "ID": 254,
            "Src": "10.0.0.1",
            "Routes": [
                {
                    "Protocol": 3,
                    "Prefix": "0.0.0.0/0",
                    "NextHops": [
                        {"Priority": 50, "IP": "10.0.0.10", "IfIndex": 3},
                        {"Priority": 100, "IP": "10.0.0.9", "IfIndex": 3},
                    ],
                },
                {
                    "Protocol": 3,
                    "Prefix": "9.0.0.0/8",
                    "NextHops": [{"IP": "10.0.0.9", "IfIndex": 3}, {"IP": "10.1.0.9", "IfIndex": 4, "Weight": 5}],
                },
                {"Protocol": 2, "Prefix": "10.0.0.0/24", "NextHops": [{"IfIndex": 3}]},
                {"Protocol": 3, "Prefix": "::/0", "NextHops": [{"IP": "fe80::1", "IfIndex": 3}]},
            ],
        },
        {
            "ID": 1000,
            "Routes": [
                {"Protocol": 3, "Prefix": "10.7.0.0/16", "NextHops": [{"IP": "fe80::1", "IfIndex": 3, "Labels": [7]}]},
            ],
        },
    ]


def test_the_order_of_the_routes_makes_no_difference() -> None:
    expected = routing_tables(ROUTES, 3)
    for seed in range(20):
        shuffled = ROUTES * 2
        random.Random(seed).shuffle(shuffled)
        assert routing_tables(shuffled, 3) == expected


def test_an_interface_without_routes_has_no_tables() -> None:
    assert routing_tables(ROUTES, 5) == []


def test_every_route_of_the_kernel_is_in_its_interfaces_tables(net: Net) -> None:
    netns, indexes = make_routes(net)
    routes = [one for raw in dump(netns, 26, route_dump_request()) if (one := decode_route(raw))]
    found = {
        (table["ID"], one["Prefix"], hop.get("IP", ""), hop.get("Priority", 0))
        for table in routing_tables(routes, indexes["left"])
        for one in table["Routes"]
        for hop in one["NextHops"]
    }
    defaults = {4: "0.0.0.0/0", 6: "::/0"}
    expected = set()
    for one in numeric_json(netns, "-d", "route", "show", "table", "all"):
        version = 6 if "pref" in one else 4
        prefix = defaults[version] if one["dst"] == "default" else one["dst"]
        prefix = prefix if "/" in prefix else f"{prefix}/{128 if version == 6 else 32}"
        for hop in one.get("nexthops", [one]):
            gateway = hop.get("gateway") or hop.get("via", {}).get("host", "")
            if hop.get("dev") == "left":
                expected.add((int(one["table"]), prefix, gateway, one.get("metric", 0)))
    assert found == expected
    assert len(found) > 12
