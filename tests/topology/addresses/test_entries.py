"""Elements → entries: who is named for an address, where; and that what comes one by one is what comes at once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.addressgraph import H1, H2, Graph, container, host, interface, k8s, netns

from skytrail.addresses.book import Book, Changes, Entry, Owner, port_of
from skytrail.addresses.packing import pieces, unpack
from topology.addresses.entries import Entries
from topology.addresses.follow import keep_as
from topology.elements import node_id
from topology.facts import Fact, NodeFact


def test_an_address_is_its_namespaces_or_its_hosts(graph: Graph) -> None:
    graph.tell(host(H1, "one"), *netns(f"{H1}/netns/a", "a"))
    graph.tell(*interface(f"{H1}/netns/a", "eth0", "10.0.0.2/24", "fd00::2/64", "fe80::1/64", "127.0.0.1/8"))
    graph.tell(*interface(H1, "eth1", "192.0.2.1/24"))
    assert graph.named("10.0.0.2") == graph.named("fd00::2") == Owner("netns", "a", host="h")
    assert graph.named("192.0.2.1") == Owner("host", "one", host="h")
    assert graph.named("fe80::1") is graph.named("127.0.0.1") is graph.named("10.0.0.3") is None


def test_a_container_is_named_and_a_pod_before_it(graph: Graph) -> None:
    place = f"{H1}/netns/a"
    graph.tell(host(H1, "one"), *netns(place, "a"), *interface(place, "eth0", "10.0.0.2/24"))
    graph.tell(*container(place, "web"), probe="containers")
    assert graph.named("10.0.0.2") == Owner("container", "web", host="h")
    graph.tell(*container(place, "log"), probe="containers")  # two: neither
    assert graph.named("10.0.0.2") == Owner("netns", "a", host="h")
    for name in ("web", "log"):
        graph.tell(*container(place, name, Name="shop-1", Namespace="shop"), probe="containers")
    assert graph.named("10.0.0.2") == Owner("pod", "shop-1", "shop", "h")
    graph.tell(gone=(container(place, "web")[0], container(place, "log")[0]), probe="containers")
    assert graph.named("10.0.0.2") == Owner("netns", "a", host="h")


def test_who_joined_anothers_namespace_is_not_named_as_long_as_that_is_there(graph: Graph) -> None:
    place, web = f"{H1}/netns/a", Owner("container", "web", host="h")
    graph.tell(host(H1, "one"), *netns(place, "a"), *interface(place, "eth0", "10.0.0.2/24"))
    graph.tell(*container(place, "web", mode="bridge"), probe="containers")
    graph.tell(*container(place, "side", mode="container:id-web"), probe="containers")
    graph.tell(*container(place, "more", mode="container:id-web"), probe="containers")
    assert graph.named("10.0.0.2") == web
    graph.tell(gone=(container(place, "web")[0],), probe="containers")
    assert graph.named("10.0.0.2") == Owner("netns", "a", host="h")
    graph.tell(gone=(container(place, "more")[0],), probe="containers")
    assert graph.named("10.0.0.2") == Owner("container", "side", host="h")


def test_a_pod_of_which_cluster_and_runtime_tell_is_one_whatever_its_node_is_called(graph: Graph) -> None:
    place = f"{H1}/netns/a"
    graph.tell(host(H1, "one"), *netns(place, "a"), *interface(place, "eth0", "10.1.0.5/24"))
    graph.tell(*container(place, "web", Name="web-1", Namespace="shop"), probe="containers")
    assert graph.named("10.1.0.5", H2, H2) == Owner("pod", "web-1", "shop", "h")
    graph.tell(k8s("pod", "web-1", IP="10.1.0.5", Node="one.example.com", Status="Running"), probe="kubernetes")
    there = Owner("pod", "web-1", "shop", "one.example.com", cluster="c1")
    assert [graph.named("10.1.0.5", *where) for where in ((place, H1), (H1, H1), (H2, H2))] == [there] * 3
    graph.tell(k8s("pod", "web-2", IP="10.1.0.5", Node="two", Status="Running"), probe="kubernetes")  # another's
    assert graph.named("10.1.0.5", place, H1) == there
    assert graph.named("10.1.0.5", H2, H2) is None


def test_objects_of_a_cluster_are_named_everywhere(graph: Graph) -> None:
    outside: Any = {"ExternalIPs": ["198.51.100.1"], "LoadBalancer": ["203.0.113.9", "a.b"], "Ports": [{"Port": 80}]}
    graph.tell(k8s("service", "web", ClusterIP="10.96.0.1", **outside))
    graph.tell(k8s("pod", "web-1", IP="10.1.0.5", IPs=["10.1.0.5", "fd01::5"], Node="n1", Status="Running"))
    graph.tell(k8s("pod", "kube-proxy", IP="192.0.2.1", Node="n1", HostNetwork=True, Status="Running"))
    graph.tell(k8s("pod", "done", IP="10.1.0.6", Node="n1", Status="Succeeded"))
    graph.tell(k8s("node", "n1", InternalIP="192.0.2.1", Hostname="n1"), k8s("service", "headless", ClusterIP="None"))
    service, pod = Owner("service", "web", "shop", cluster="c1"), Owner("pod", "web-1", "shop", "n1", cluster="c1")
    assert [graph.named(one) for one in ("10.96.0.1", "198.51.100.1", "203.0.113.9")] == [service] * 3
    assert graph.named("10.1.0.5") == graph.named("fd01::5", f"{H1}/netns/x", H1) == pod
    assert graph.named("192.0.2.1") == Owner("node", "n1", "shop", "n1", cluster="c1")  # and not the pod in its namespace
    assert graph.named("10.1.0.6") is None


def test_a_pod_is_joined_to_the_namespace_on_its_node_and_to_no_other(graph: Graph) -> None:
    graph.tell(host(H1, "n1"), host(H2, "n2"))
    for tid in (f"{H1}/netns/cni", f"{H2}/netns/lab"):
        graph.tell(*netns(tid, tid.rpartition("/")[2]), *interface(tid, "eth0", "10.1.0.5/24"))
    graph.tell(k8s("pod", "web-1", IP="10.1.0.5", Node="n1", Status="Running"))
    pod = Owner("pod", "web-1", "shop", "n1", cluster="c1")
    assert graph.named("10.1.0.5", f"{H1}/netns/cni", H1) == graph.named("10.1.0.5", H1, H1) == pod
    assert graph.named("10.1.0.5", f"{H2}/netns/lab", H2) == Owner("netns", "lab", host="h")
    assert graph.named("10.1.0.5", "host/3", "host/3") == pod  # seen from elsewhere a pod is known, and a namespace is not


def test_what_two_clusters_call_the_same_at_one_address_are_two(graph: Graph) -> None:
    for number, tid in enumerate((H1, H2, "host/3")):
        graph.tell(host(tid, f"n{number}"))
    for cluster, node in (("prod", "n0"), ("test", "n1")):
        graph.tell(k8s("node", node, cluster=cluster, Hostname=node, InternalIP=f"192.0.2.{node[1]}"))
        graph.tell(k8s("service", "dns", cluster=cluster, ClusterIP="10.43.0.10"))
        graph.tell(k8s("pod", "web-0", cluster=cluster, IP="10.42.0.5", Node=f"{node}-b", Status="Running"))
    prod, test = (Owner("service", "dns", "shop", cluster=one) for one in ("prod", "test"))
    assert [graph.named("10.43.0.10", host=one) for one in (H1, H2, "host/3")] == [prod, test, None]
    assert [(one := graph.named("10.42.0.5", host=tid)) and one.cluster for tid in (H1, H2)] == ["prod", "test"]
    graph.tell(gone=(k8s("service", "dns", cluster="test"),))
    assert [graph.named("10.43.0.10", host=one) for one in (H1, H2, "host/3")] == [prod] * 3
    assert prod.shown() == {"Kind": "service", "Name": "dns", "Namespace": "shop", "Cluster": "prod"}


def test_of_hosts_with_the_same_address_the_nearest_is_named(graph: Graph) -> None:
    for tid in (H1, H2):
        graph.tell(host(tid, tid), *interface(tid, "docker0", "172.17.0.1/16"))
    assert graph.named("172.17.0.1", H1, H1) == Owner("host", H1, host="h")
    assert graph.named("172.17.0.1", f"{H2}/netns/x", H2) == Owner("host", H2, host="h")
    assert graph.named("172.17.0.1", "host/3", "host/3") is None


ELSEWHERE = "host/3", "host/3"
SERVICE, SECOND, OUTSIDE = "10.96.0.1", "192.0.2.2", "8.8.8.8"


@pytest.mark.parametrize("pod", [{}, {"Name": "coredns", "Namespace": "kube-system"}])
def test_who_gives_his_namespace_others_addresses_takes_them_from_nobody(graph: Graph, pod: dict[str, str]) -> None:
    """As ``unshare -rn`` on a host gives to anybody, and a label to whoever may use Docker there."""
    graph.tell(host(H1, "one"), host(H2, "two"), *interface(H2, "eth0", f"{SECOND}/24"), *interface(H1, "eth0", "192.0.2.1/24"))
    graph.tell(*(k8s("node", name, InternalIP=f"192.0.2.{at}") for at, name in enumerate(("one", "two"), 1)), probe="k8s")
    graph.tell(k8s("service", "kubernetes", ClusterIP=SERVICE), k8s("pod", "p", IP="10.1.0.5", Node="x"), probe="k8s")
    graph.tell(*interface(H1, "eth1", "198.51.100.1/24"))  # of which no cluster knows
    theirs = (SERVICE, SECOND, "10.1.0.5", "192.0.2.1", "198.51.100.1")
    places = (ELSEWHERE, (H2, H2), (H1, H1), (f"{H1}/netns/other", H1))
    before = [graph.named(address, *place) for address in theirs for place in places]
    owners = ("service", "kubernetes"), ("host", "two"), ("pod", "p"), ("host", "one"), ("host", "one")
    assert [one and (one.kind, one.name) for one in before] == [owner for owner in owners for _ in places]
    mine = f"{H1}/netns/mine"
    graph.tell(*netns(mine, "mine"), *interface(mine, "d0", *(f"{address}/32" for address in (*theirs, OUTSIDE))))
    graph.tell(*container(mine, "evil", **pod), probe="containers")
    assert [graph.named(address, *place) for address in theirs for place in places] == before
    own = "coredns" if pod else "evil"
    for address in (*theirs, OUTSIDE):
        found = graph.named(address, mine, H1)
        assert found
        assert found.name == own


def test_a_namespace_that_a_user_made_is_told_of_on_its_host_alone(graph: Graph) -> None:
    mine, roots = f"{H1}/netns/mine", f"{H1}/netns/roots"
    graph.tell(*netns(mine, "mine", User=1000), *interface(mine, "d0", f"{OUTSIDE}/32"))
    assert graph.named(OUTSIDE, mine, H1) == graph.named(OUTSIDE, H1, H1) == Owner("netns", "mine", host="h")
    assert graph.named(OUTSIDE, *ELSEWHERE) is graph.named(OUTSIDE) is None
    graph.tell(*netns(roots, "roots"), *interface(roots, "d0", f"{OUTSIDE}/32"))
    assert graph.named(OUTSIDE, *ELSEWHERE) == Owner("netns", "roots", host="h")


def test_a_service_is_named_where_each_node_has_its_address(graph: Graph) -> None:
    """kube-proxy in IPVS mode, and NodeLocal DNSCache; in kind a node is a container."""
    inside = f"{H2}/netns/worker"
    graph.tell(host(H1, "n1"), host(H2, "n2"), *netns(f"{H1}/netns/pod", "pod"), *netns(inside, "worker"))
    graph.tell(k8s("service", "web", ClusterIP=SERVICE, LoadBalancer=["203.0.113.9"], Ports=[{"Port": 80}]), probe="k8s")
    for tid in (H1, H2, inside):
        graph.tell(
            *interface(tid, "kube-ipvs0", f"{SERVICE}/32", "203.0.113.9/32"), *interface(tid, "nodelocaldns", f"{SERVICE}/32")
        )
    service = Owner("service", "web", "shop", cluster="c1")
    for place in ((H1, H1), (f"{H1}/netns/pod", H1), (inside, H2), ELSEWHERE):
        assert graph.named(SERVICE, *place) == graph.named("203.0.113.9", *place) == service


@pytest.mark.parametrize("key", ["ExternalIPs", "LoadBalancer"])
def test_of_a_nodes_address_a_service_has_its_ports_alone(graph: Graph, key: str) -> None:
    """externalIPs, and the load balancer of k3s."""
    node = "192.0.2.1"
    graph.tell(host(H1, "n1"), host(H2, "n2"), *interface(H1, "eth0", f"{node}/24"))
    graph.tell(k8s("node", "n1", InternalIP=node), k8s("node", "n2", InternalIP="192.0.2.9"), probe="k8s")
    for name, *ports in (("traefik", ("TCP", 80), ("TCP", 443)), ("dns", ("UDP", 53))):
        told = [{"Port": port, "Protocol": protocol, "NodePort": 30_000 + port} for protocol, port in ports]
        graph.tell(
            k8s("service", name, ClusterIP=f"10.96.0.{len(name)}", Ports=told, **{key: [node, "198.51.100.7"]}), probe="k8s"
        )
    expected = {(6, 80): "traefik", (6, 443): "traefik", (17, 53): "dns", (6, 53): "n1", (17, 80): "n1", (6, 22): "n1"}
    for place in ((H1, H1), (H2, H2), ELSEWHERE):
        for port, name in expected.items():
            found = graph.named(node, *place, port=port_of(*port))
            assert found
            assert (found.name, found.kind) == (name, "host" if name == "n1" else "service")
        assert graph.named(node, *place) == Owner("host", "n1", host="h")
        beside = graph.named("198.51.100.7", *place, port=port_of(17, 53))
        assert beside == Owner("service", "dns", "shop", cluster="c1")
    mine = f"{H1}/netns/mine"
    graph.tell(*netns(mine, "mine"), *interface(mine, "d0", f"{node}/32"))
    assert graph.named(node, mine, H1, port=port_of(6, 80)) == Owner("netns", "mine", host="h")


def test_what_two_clusters_call_the_same_is_two(graph: Graph) -> None:
    """As every cluster's first service, and a pod of a set, where both have the same networks."""
    graph.tell(host(H1, "n1"), host(H2, "n2"), *interface(H1, "eth0", "192.0.2.1/24"), *interface(H2, "eth0", "192.0.2.2/24"))
    for number, cluster in enumerate(("c1", "c2"), 1):
        told = k8s("service", "kubernetes", cluster, ClusterIP=SERVICE), k8s("pod", "db-0", cluster, IP="10.1.0.5", Node="x")
        graph.tell(*told, k8s("node", f"n{number}", cluster, InternalIP=f"192.0.2.{number}"), probe=cluster)
    for at, cluster in ((H1, "c1"), (H2, "c2")):
        assert graph.named(SERVICE, at, at) == Owner("service", "kubernetes", "shop", cluster=cluster)
        assert graph.named("10.1.0.5", f"{at}/netns/pod", at) == Owner("pod", "db-0", "shop", "x", cluster=cluster)
    assert graph.named(SERVICE, *ELSEWHERE) is graph.named("10.1.0.5", *ELSEWHERE) is None


def test_whoever_had_it_when_is_named_then(graph: Graph) -> None:
    def pod(name: str, **keys: str) -> NodeFact:
        return k8s("pod", name, Node="n1", Status="Running", **keys)

    minute = 60_000_000
    graph.tell(host(H1, "one"), at=minute)
    graph.named("10.1.0.5")
    graph.tell(pod("old", IP="10.1.0.5"), at=2 * minute)
    graph.named("10.1.0.5")
    graph.tell(gone=(pod("old"),), at=4 * minute)
    graph.named("10.1.0.5")
    graph.tell(pod("new", IP="10.1.0.5"), at=6 * minute)
    names = [graph.named("10.1.0.5", at=int(at * minute)) for at in (1, 1.75, 2, 3.999, 4, 5, 5.75, 6, 7)]
    found = [one.name if one else "" for one in names]
    assert found == ["", "old", "old", "old", "", "", "new", "new", "new"]  # half a minute before it was seen it may have begun


def test_one_by_one_is_as_all_at_once(graph: Graph) -> None:
    """Random facts that come and go: what follows from the feed is what follows from the graph read anew."""
    chance = random.Random(8)
    there: dict[str, Fact] = {}
    for one in (host(H1, "n1"), host(H2, "n2")):
        graph.tell(one)
    end = keep_as(graph.follower, graph.book)
    for step in range(60):
        pick: list[Fact] = []
        for _ in range(chance.randint(1, 6)):
            place = f"{chance.choice((H1, H2))}/netns/{chance.randint(1, 4)}"
            address = f"10.0.0.{chance.randint(1, 8)}/24"
            name = chance.choice("abc")
            pick += chance.choice(
                [
                    netns(place, chance.choice(("red", "blue"))),
                    interface(place, "eth0", address, f"10.0.1.{chance.randint(1, 4)}/24"),
                    container(place, name),
                    container(place, name, Name="p", Namespace="shop"),
                    (k8s("pod", name, IP=address[:-3], Node=chance.choice(("n1", "n2")), Status="Running"),),
                    (k8s("service", name, ClusterIP=address[:-3]),),
                    (k8s("service", name, LoadBalancer=[address[:-3]], Ports=[{"Port": chance.randint(1, 2)}]),),
                    (k8s("node", chance.choice(("n1", "n2")), InternalIP=address[:-3]),),
                    interface(chance.choice((H1, H2)), "eth0", address),
                    (host(H1, chance.choice(("n1", "n3"))),),
                ]
            )
        facts = {fact.id: fact for fact in pick}
        gone = {id_: there[id_] for id_ in chance.sample(sorted(there), min(len(there), chance.randint(0, 3)))}
        there = {id_: fact for id_, fact in (there | facts).items() if id_ not in gone}
        graph.tell(*(fact for id_, fact in facts.items() if id_ not in gone), gone=tuple(gone.values()))
        if step % 3 == 0:
            anew = Entries()
            anew.load(graph.store.current())
            expected = keys(anew)
            assert keys(graph.follow()) == expected
            assert held(graph.book) == expected
    assert graph.follower.number > 20
    end()


def keys(entries: Entries) -> set[object]:
    return {(entry.address, entry.place, entry.host, entry.owner, entry.ports) for entry in entries.current()}


def held(book: Book) -> set[object]:
    return {(address, *one[:3], one.ports) for address, held in book._held.items() for one in held if one.until == 2**63 - 1}


def test_who_lags_behind_gets_all(graph: Graph) -> None:
    graph.tell(host(H1, "one"), *interface(H1, "eth0", "192.0.2.1/24"))
    graph.follow()
    number, whole = graph.follower.since(0)
    assert whole.whole
    assert [entry.owner.name for entry in whole.put] == ["one"]
    graph.tell(*interface(H1, "eth1", "192.0.2.2/24"))
    graph.follow()
    _, changes = graph.follower.since(number)
    assert (changes.whole, [entry.address[-1] for entry in changes.put], changes.gone) == (False, [2], ())
    assert graph.follower.since(number + 99)[1].whole
    graph.follower._sequence = None  # the store failed: all is read anew
    graph.follow()
    assert graph.follower.since(number + 1)[1].whole


def test_pieces_are_what_was_packed() -> None:
    owner = Owner("pod", "webñ", "shop", "n1")
    put = tuple(Entry(number.to_bytes(4, "big"), f"{H1}/netns/{number % 7}", H1, owner, number) for number in range(25_000))
    packed = list(pieces(Changes(put, put[:3])))
    assert len(packed) == 5
    assert sum(map(len, packed)) < 16 * len(put)
    found = [unpack(body) for body in packed]
    assert tuple(entry for more, _ in found for entry in more) == put
    assert tuple(entry for _, less in found for entry in less) == put[:3]


def test_an_element_that_cannot_be_read_is_passed_over(graph: Graph) -> None:
    graph.tell(
        NodeFact("x/1", {"Type": "pod", "Name": "p", "Manager": "k8s", "K8s": {"IP": 5}}),
        NodeFact("x/2", {"Type": "container", "Name": "c", "Container": "none"}),
        NodeFact("x/3", {"Type": "pod", "Name": "p", "K8s": {"Name": "p", "IP": "not an address", "Status": "Running"}}),
        k8s("pod", "good", IP="10.1.0.5", Status="Running"),
    )
    assert graph.named("10.1.0.5") == Owner("pod", "good", "shop", cluster="c1")
    assert node_id("x/1") not in graph.follow()._claims
