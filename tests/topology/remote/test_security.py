"""Mutual TLS between agents and a hub, over real gRPC: who may report as whom, and certificates that are replaced."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import msgspec
import pytest
from cryptography import x509
from support.certificates import Pki
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import Part, Question
from skytrail.errors import RunError
from skytrail.settings.tree import Wire
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import greeting
from skytrail.wire.security import HubSecurity, connector, wire_files
from topology.elements import node_id
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import AskBounds, Receiver
from topology.remote.sender import Identity, Sender
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore


def now() -> int:
    return time.time_ns() // 1000


def no_answer(question: Question) -> Iterator[Part]:
    raise RunError("nothing is known here")


class Hub:
    """A receiver with TLS, its store and graph real."""

    def __init__(self, folder: Path, settings: Wire, crl: str | None = None) -> None:
        self.store = EmbeddedStore(folder)
        self.reconciler = Reconciler(self.store, "hub", now)
        self.security = HubSecurity(wire_files(settings), crl)
        port = free_port()
        self.receiver = Receiver(f"127.0.0.1:{port}", Taking(self.reconciler), self.store, now, AskBounds(), self.security)
        self.receiver.start()
        self.address = f"127.0.0.1:{port}"

    def names(self) -> dict[str, str]:
        return {one.state.tid: one.state.metadata["Name"] for one in self.store.current() if one.state and one.state.tid}

    def close(self) -> None:
        self.receiver.stop()
        self.reconciler.close()
        self.store.close()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def start(settings: Wire, crl: str | None = None) -> Hub:
        made.append(Hub(tmp_path / f"hub{len(made)}", settings, crl))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def start(address: str, settings: Wire | None, host: str, tid: str) -> Sender:
        outbox = Outbox(tmp_path / f"agent{len(made)}" / "outbox", 1 << 30, Clocks.of_machine("boot"))
        connect = connector(wire_files(settings or Wire()))
        made.append(Sender([address], outbox, Identity(host, tid), now, no_answer, connect=connect))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def report(host: str, tid: str, *facts: NodeFact | EdgeFact, **more: object) -> Report:
    return Report(Source("netlink", host, tid=tid), now(), facts, **more)  # type: ignore[arg-type]


def device(tid: str, name: str = "eth0") -> NodeFact:
    return NodeFact(tid, {"Name": name, "Type": "device"})


def refusal(agent: Sender, what: str) -> str:
    until(lambda: agent.failure and what in agent.failure, 20)
    assert agent.hub is None
    return str(agent.failure)


def test_an_agent_with_its_certificate_reports(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    hub = hubs(pki.hub())
    agent = agents(hub.address, pki.agent("node1"), "node1", "host/1")
    agent.report(report("node1", "host/1", device("host/1/netns/host/link/veth/a", "a")))
    until(lambda: agent.outbox.waiting == 0, 20)
    assert hub.names() == {"host/1/netns/host/link/veth/a": "a"}


def test_without_a_certificate_or_with_another_authoritys_nobody_gets_in(
    pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender], tmp_path: Path
) -> None:
    hub = hubs(pki.hub())
    other = Pki(tmp_path / "other")
    mine, theirs = pki.agent("node1"), other.agent("node1")
    mixed = Wire(tls_cert=theirs.tls_cert, tls_key=theirs.tls_key, tls_ca=mine.tls_ca)  # it trusts the hub
    for settings in (None, theirs, mixed):
        agent = agents(hub.address, settings, "node1", "host/1")
        refusal(agent, "unavailable")
    assert hub.receiver.agents() == []


def test_the_hub_is_known_by_the_name_that_was_dialled(
    pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]
) -> None:
    hub = hubs(pki.hub("hub.example"))
    refusal(agents(hub.address, pki.agent("node1"), "node1", "host/1"), "unavailable")
    assert hub.receiver.agents() == []


def test_an_agents_certificate_is_no_hubs(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    """Though it be good for the name that is dialled: with the same names as a server's it is one."""
    mine, names = pki.agent("node1"), [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    for kind in ("servers", "agents"):
        path = pki.authority._issue(kind, "localhost", names, 1)
        hub = hubs(msgspec.structs.replace(mine, tls_cert=str(path), tls_key=str(path.with_suffix(".key"))))
        agent = agents(hub.address, mine, "node1", "host/1")
        if kind == "servers":
            until(lambda agent=agent: agent.hub is not None, 20)  # type: ignore[misc]
        else:
            refusal(agent, "unavailable")


def test_a_hubs_certificate_is_no_agents(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    settings = pki.hub()
    hub = hubs(settings)
    told = refusal(agents(hub.address, settings, "localhost", "host/1"), "permission_denied")
    assert "the certificate 'localhost' is no agent's: 'skytrail pki agent HOST' makes one" in told
    assert hub.receiver.agents() == []


def test_an_agent_cannot_greet_as_another_host(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    hub = hubs(pki.hub())
    told = refusal(agents(hub.address, pki.agent("node1"), "node2", "host/2"), "permission_denied")
    assert "the certificate is that of node1: it may not report as 'node2'" in told
    assert hub.receiver.agents() == []


def test_an_agent_cannot_take_anothers_host_id(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    hub = hubs(pki.hub())
    first = agents(hub.address, pki.agent("node1"), "node1", "host/1")
    until(lambda: first.hub is not None, 20)
    told = refusal(agents(hub.address, pki.agent("node2"), "node2", "host/1"), "permission_denied")
    assert "this host ID is that of 'node1', which the certificate does not name: was it called so: " in told
    assert [agent.host for agent in hub.receiver.agents()] == ["node1"]


def test_a_renamed_host_goes_on_by_a_certificate_with_both_names(
    pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]
) -> None:
    hub = hubs(pki.hub())
    first = agents(hub.address, pki.agent("old"), "old", "host/1")
    until(lambda: first.hub is not None, 20)
    second = agents(hub.address, pki.agent("new", "old"), "new", "host/1")
    second.report(report("old", "host/1", device("host/1/a")))  # of before, from its outbox
    second.report(report("new", "host/1", device("host/1/b")))
    until(lambda: second.outbox.waiting == 0, 20)
    assert hub.names().keys() == {"host/1/a", "host/1/b"}


@pytest.mark.parametrize(
    "strange",
    [
        report("node2", "host/2", device("host/2/a")),
        report("node1", "host/2", device("host/2/a")),
        report("node2", "host/1", device("host/1/a")),
        report("node1", "host/1", device("host/2/a")),
        report("node1", "host/1", device("host/11/a")),
        report("node1", "host/1", EdgeFact("host/1/own", "host/2/mine", "layer2")),
    ],
)
def test_an_agent_cannot_speak_of_anothers(
    strange: Report, pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]
) -> None:
    hub = hubs(pki.hub())
    other = agents(hub.address, pki.agent("node2"), "node2", "host/2")
    other.report(report("node2", "host/2", device("host/2/mine")))
    agent = agents(hub.address, pki.agent("node1"), "node1", "host/1")
    agent.report(strange)
    agent.report(report("node1", "host/1", device("host/1/own")))
    until(lambda: agent.outbox.waiting == 0 and other.outbox.waiting == 0, 20)
    assert hub.names().keys() == {"host/1/own", "host/2/mine"}
    assert [one.refused for one in hub.receiver.agents() if one.tid == "host/1"] == [1]


def test_an_agent_cannot_end_or_shade_anothers_elements(
    pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]
) -> None:
    hub = hubs(pki.hub())
    other = agents(hub.address, pki.agent("node2"), "node2", "host/2")
    other.report(report("node2", "host/2", NodeFact("host/2/mine", {"Name": "eth0", "Type": "device"}, {"State": "UP"})))
    until(lambda: other.hub is not None and other.outbox.waiting == 0, 20)
    agent, mine = agents(hub.address, pki.agent("node1"), "node1", "host/1"), node_id("host/2/mine")
    agent.report(report("node1", "host/1", device("host/1/own"), gone=(mine,), volatile={mine: {"State": "DOWN"}}))
    agent.report(report("node1", "host/1", device("host/1/own"), whole=True))
    until(lambda: agent.hub is not None and agent.outbox.waiting == 0, 20)
    assert hub.names().keys() == {"host/1/own", "host/2/mine"}
    assert hub.reconciler.volatile_of(mine) == {"State": "UP"}


def test_no_call_goes_round_the_greeting(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    """Whoever has a good certificate and knows another's outbox cannot report by it."""
    hub = hubs(pki.hub())
    first = agents(hub.address, pki.agent("node1"), "node1", "host/1")
    until(lambda: first.hub is not None, 20)
    with connector(wire_files(pki.agent("node2")))(hub.address) as channel:
        metadata = (("skytrail-tid", "host/1"), ("skytrail-outbox", first.outbox.name), ("skytrail-version", "2"))
        for name in ("Report", "Attend", "Names"):
            call = channel.stream_stream(f"/skytrail.wire.v1.Wire/{name}")(iter([b""]), metadata=metadata, timeout=10)
            with pytest.raises(grpc.RpcError) as refused:
                list(call)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    first.report(report("node1", "host/1", device("host/1/a")))
    until(lambda: first.outbox.waiting == 0, 20)
    assert hub.names() == {"host/1/a": "eth0"}


def test_a_revoked_certificate_is_no_good_any_more(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    hub = hubs(pki.hub(), pki.crl)
    bad, good = pki.agent("bad"), pki.agent("good")
    revoked = agents(hub.address, bad, "bad", "host/1")
    other = agents(hub.address, good, "good", "host/2")
    until(lambda: revoked.hub is not None and other.hub is not None, 20)
    pki.authority.revoke(Path(str(bad.tls_cert)))
    assert "is revoked" in refusal(revoked, "permission_denied")  # also on a connection that lives
    other.report(report("good", "host/2", device("host/2/a")))
    until(lambda: other.outbox.waiting == 0, 20)
    assert hub.security.waiting() is None


def test_a_broken_list_revokes_what_it_did(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    bad = pki.agent("bad")
    pki.authority.revoke(Path(str(bad.tls_cert)))
    hub = hubs(pki.hub(), pki.crl)
    Path(pki.crl).write_text("no list")
    assert "is revoked" in refusal(agents(hub.address, bad, "bad", "host/1"), "permission_denied")
    assert "the list of before is used" in str(hub.security.waiting())


def test_a_list_of_another_authoritys_is_refused(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    with pytest.raises(RunError, match=r"wire\.tls_crl .*: no authority of wire\.tls_ca has signed it"):
        HubSecurity(wire_files(pki.hub()), other.crl)


def test_a_certificate_that_ends_while_connected_is_asked_for_anew(
    pki: Pki, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = hubs(pki.hub())
    settings = pki.agent("node1")
    peer = None

    def note(context: object) -> None:
        nonlocal peer
        peer = real(context)
        return peer

    real = hub.security.peer
    monkeypatch.setattr(hub.security, "peer", note)
    with connector(wire_files(settings))(hub.address) as channel:
        greeting(channel)(wire.Greeting(oldest=1, newest=2, host="node1", tid="host/1", outbox="o"), timeout=10)
    assert peer is not None
    hub.security.check(peer)
    monkeypatch.setattr(time, "time", lambda: peer.ends + 1)
    with pytest.raises(RunError, match="the certificate of node1 has ended: 'skytrail pki renew'"):
        hub.security.check(peer)


def served(address: str, settings: Wire) -> bytes:
    """The certificate that a new connection is shown; it must be good."""
    context = ssl.create_default_context(cafile=settings.tls_ca)
    context.load_cert_chain(str(settings.tls_cert), settings.tls_key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_certificates_are_replaced_under_load_and_no_connection_is_cut(
    pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]
) -> None:
    settings, mine = pki.hub(), pki.agent("node1")
    hub = hubs(settings)
    agent = agents(hub.address, mine, "node1", "host/1")
    until(lambda: agent.hub is not None, 20)
    [known] = hub.receiver.agents()
    call, done = known.call, threading.Event()

    def load() -> None:
        number = 0
        while not done.is_set():
            number += 1
            agent.report(report("node1", "host/1", device("host/1/a", f"eth{number}")))

    loading = threading.Thread(target=load)
    loading.start()
    try:
        before = served(hub.address, mine)
        for one in (settings, mine):
            pki.authority.renew(Path(str(one.tls_cert)))
        after = served(hub.address, mine)
        taken = known.taken
        until(lambda: known.taken > taken, 20)
    finally:
        done.set()
        loading.join()
    assert before != after
    assert known.call is call, "the connection of before lives on"
    until(lambda: agent.outbox.waiting == 0, 20)
    pki.authority.init()  # another authority altogether: hub and agent get new files of it
    pki.hub()
    pki.agent("node1")
    assert served(hub.address, mine) != after
    agent._cancel()
    until(lambda: known.call is not call and known.connected, 20)


def test_broken_files_are_not_used_and_it_is_said(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    settings, mine = pki.hub(), pki.agent("node1")
    hub = hubs(settings)
    before = served(hub.address, mine)
    cert, key = Path(str(settings.tls_cert)), Path(str(settings.tls_key))
    good = key.read_bytes()
    key.write_bytes(Path(str(mine.tls_key)).read_bytes())  # of another certificate
    assert served(hub.address, mine) == before
    files = hub.security.files
    assert files is not None
    assert "the certificate of before is used" in str(files.waiting())
    key.write_bytes(b"")
    assert served(hub.address, mine) == before
    key.unlink()
    assert served(hub.address, mine) == before
    key.write_bytes(good)
    os.utime(cert)
    assert served(hub.address, mine) == before
    assert files.waiting() is None


@pytest.mark.parametrize("broken", ["tls_cert", "tls_key", "tls_ca"])
def test_files_that_cannot_be_used_are_refused_at_the_start(broken: str, pki: Pki) -> None:
    settings = pki.hub()
    path = Path(str(getattr(settings, broken)))
    path.write_text("-----BEGIN NOTHING-----")
    with pytest.raises(RunError, match=rf"{path}.*: 'skytrail pki' makes such files"):
        wire_files(settings)
    path.unlink()
    with pytest.raises(RunError, match="No such file or directory"):
        wire_files(settings)


def test_who_shows_no_certificate_is_not_waited_for(pki: Pki, hubs: Callable[..., Hub], agents: Callable[..., Sender]) -> None:
    hub = hubs(pki.hub())
    host, _, port = hub.address.rpartition(":")
    silent = [socket.create_connection((host, int(port)), 30) for _ in range(50)]
    agent = agents(hub.address, pki.agent("node1"), "node1", "host/1")
    until(lambda: agent.hub is not None, 20)
    for one in silent:
        assert one.recv(1) == b""  # gRPC itself would wait for two minutes
        one.close()


def test_an_agent_has_no_more_calls_at_once_than_it_needs(
    pki: Pki, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, there, most = hubs(pki.hub()), 0, 0

    async def stuck(_tid: str, _answers: object, _context: object) -> None:
        nonlocal there, most
        there += 1
        most = max(most, there)
        try:
            await asyncio.sleep(600)
        finally:
            there -= 1

    monkeypatch.setattr(hub.receiver.asker, "attend", stuck)
    with connector(wire_files(pki.agent("node1")))(hub.address) as channel:
        greeting(channel)(wire.Greeting(oldest=1, newest=2, host="node1", tid="host/1", outbox="o"), timeout=10)
        metadata = (("skytrail-tid", "host/1"), ("skytrail-outbox", "o"))
        attend = channel.stream_stream("/skytrail.wire.v1.Wire/Attend")
        calls = [attend(iter([]), metadata=metadata, timeout=2) for _ in range(40)]
        for call in calls:
            with pytest.raises(grpc.RpcError):
                list(call)
    assert most == 16


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_tls_is_refused(version: str, pki: Pki, hubs: Callable[..., Hub]) -> None:
    hub, mine = hubs(pki.hub()), pki.agent("node1")
    files = ["-cert", str(mine.tls_cert), "-key", str(mine.tls_key), "-CAfile", str(mine.tls_ca)]
    command = ["openssl", "s_client", "-connect", hub.address, "-cipher", "ALL:@SECLEVEL=0", *files]
    done = subprocess.run([*command, version], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert "Cipher is (NONE)" in done.stdout
    now_good = subprocess.run([*command, "-tls1_2"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert "Verify return code: 0 (ok)" in now_good.stdout
