"""The tree of settings: frozen structs, in which each key's unit, reason and bounds are data beside its type.

The reference (docs/settings.md), the names of the environment variables and the options of the command line are
derived from this file alone. A key is read as ``settings.flow.idle.udp``; its dotted name is ``flow.idle.udp``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec

from skytrail.settings.values import (
    check_address,
    check_addresses,
    check_advertised,
    check_capabilities,
    check_clusters,
    check_databases,
    check_endpoint,
    check_interfaces,
    check_subnets,
)

YEAR = 365 * 86400.0

KubernetesKind = Literal[
    "namespace", "node", "pod", "service", "endpointslice", "ingress", "networkpolicy", "deployment", "replicaset",
    "replicationcontroller", "daemonset", "statefulset", "job", "cronjob", "configmap", "secret", "persistentvolume",
    "persistentvolumeclaim", "storageclass",
]  # fmt: skip
"""Types of nodes that the Kubernetes probe makes of objects."""


def key(
    description: str,
    *,
    unit: str = "",
    reason: str = "",
    secret: bool = False,
    check: Callable[[Any], None] | None = None,
) -> msgspec.Meta:
    """Describe a key: what it does and, in ``reason``, why its default is what it is (neither ends in a full stop).

    A ``unit`` of ``s`` lets people write 30s or 5m, one of ``bytes`` 64MiB; others are only shown. The value of a
    ``secret`` is never shown, neither by ``skytrail config`` nor in an error. ``check`` raises ValueError for a value
    (not None) that the type alone lets pass.
    """
    extra = {"unit": unit, "reason": reason, "secret": secret, "check": check}
    return msgspec.Meta(description=description, extra=extra)


Seconds = Annotated[float, msgspec.Meta(ge=0, le=YEAR)]
Interval = Annotated[float, msgspec.Meta(ge=0.05, le=YEAR)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Protocol = Literal["grpc", "http/protobuf"]
Compression = Literal["none", "gzip"]
OFF = "null: as in otlp"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every node of the tree."""


class Log(Section, frozen=True):
    """What the process says about itself, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], key("least severe message that is written", reason="-v: debug")
    ] = "info"
    format: Annotated[
        Literal["auto", "console", "json"],
        key("shape of a line", reason="auto: for people on a terminal, JSON lines elsewhere"),
    ] = "auto"


class FlowIdle(Section, frozen=True):
    """After how long without a packet a flow ends."""

    udp: Annotated[Interval, key("UDP", unit="s", reason="conntrack's nf_conntrack_udp_timeout")] = 30.0
    tcp: Annotated[Interval, key("TCP without FIN or RST", unit="s", reason="longer than common keep-alives")] = 300.0
    other: Annotated[Interval, key("every other protocol", unit="s", reason="conntrack's generic ICMP timeout")] = 30.0


class TunnelPorts(Section, frozen=True):
    """UDP destination ports that carry tunnels, beside those that netlink names."""

    vxlan: Annotated[tuple[Port, ...], key("VXLAN", reason="IANA's port and Linux' historical one")] = (4789, 8472)
    geneve: Annotated[tuple[Port, ...], key("Geneve", reason="IANA's port")] = (6081,)


class ApplicationPorts(Section, frozen=True):
    """Names of applications by port, over the built-in table."""

    tcp: Annotated[Mapping[Port, str], key("TCP port: name", reason="the built-in table alone")] = {}
    udp: Annotated[Mapping[Port, str], key("UDP port: name", reason="the built-in table alone")] = {}


class Flow(Section, frozen=True):
    """Which packets are counted, and how long a flow lives."""

    interfaces: Annotated[
        tuple[str, ...],
        key(
            "interfaces to capture on: globs, ~regex, type:kind (type:veth); ! in front excludes",
            reason="every interface that is up; loopback only when named, since its traffic is seen by its host alone",
            check=check_interfaces,
        ),
    ] = ("*",)
    netns: Annotated[
        Literal["host", "all"],
        key("network namespaces to capture in", reason="a container's traffic passes the host's veth anyway"),
    ] = "host"
    drain: Annotated[
        Annotated[float, msgspec.Meta(ge=0.05, le=60)],
        key("how often the kernel's counters are read", unit="s", reason="fresh metrics at little cost"),
    ] = 1.0
    update: Annotated[Interval, key("how often a living flow is reported", unit="s", reason="as Skydive")] = 60.0
    idle: FlowIdle = FlowIdle()
    linger: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=600)],
        key("how long an ended flow is kept", unit="s", reason="its last ACK must not become a flow of its own"),
    ] = 5.0
    max_flows: Annotated[
        Annotated[int, msgspec.Meta(ge=1024, le=16_777_216)],
        key("room of the kernel's table, per IP version", unit="flows", reason="40 MB of kernel memory when full"),
    ] = 262144
    max_points: Annotated[
        Annotated[int, msgspec.Meta(ge=16, le=65536)],
        key("room for capture points", unit="interfaces", reason="220 bytes each per CPU"),
    ] = 1024
    tunnel_ports: TunnelPorts = TunnelPorts()
    bpf_loader: Annotated[
        Literal["auto", "libbpf", "bcc"],
        key("who loads the BPF program", reason="auto: libbpf, which needs no compiler; bcc without kernel BTF"),
    ] = "auto"
    attach: Annotated[
        Literal["auto", "tcx", "tc", "socket"],
        key("how the program is attached", reason="auto: the first of the three that this kernel has"),
    ] = "auto"
    names: Annotated[
        bool,
        key(
            "name the pods, containers, services and hosts at both ends, by the hub's address book",
            reason="18 MB of memory for 50,000 addresses",
        ),
    ] = True
    own_traffic: Annotated[
        bool, key("count the agent's own export traffic too", reason="else each export makes something to export")
    ] = False
    application_ports: ApplicationPorts = ApplicationPorts()
    sampling: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000)],
        key("count one packet of N", unit="packets", reason="1: every packet"),
    ] = 1


NETSTAT = (
    "*_InErrors", "*_InErrs", "Ip_Forwarding", "Ip6_InOctets", "Ip6_OutOctets", "IpExt_InOctets",
    "IpExt_OutOctets", "Icmp_InMsgs", "Icmp_OutMsgs", "Icmp6_InMsgs", "Icmp6_OutMsgs", "TcpExt_Listen*",
    "TcpExt_Syncookies*", "TcpExt_TCPSynRetrans", "TcpExt_TCPTimeouts", "TcpExt_TCPOFOQueue", "TcpExt_TCPRcvQDrop",
    "Tcp_ActiveOpens", "Tcp_PassiveOpens", "Tcp_InSegs", "Tcp_OutSegs", "Tcp_OutRsts", "Tcp_RetransSegs",
    "Tcp_CurrEstab", "Udp_InDatagrams", "Udp_OutDatagrams", "Udp_NoPorts", "Udp_RcvbufErrors", "Udp_SndbufErrors",
    "Udp6_InDatagrams", "Udp6_OutDatagrams", "Udp6_NoPorts", "Udp6_RcvbufErrors", "Udp6_SndbufErrors",
)  # fmt: skip
"""What node_exporter tells unless told otherwise."""


class Interfaces(Section, frozen=True):
    """What is told of interfaces, and of the protocols of their namespaces."""

    driver_statistics: Annotated[
        tuple[str, ...],
        key(
            "drivers' own statistics (ethtool -S) to tell: globs",
            reason="none: they are many, each driver's its own",
        ),
    ] = ()
    netstat: Annotated[
        tuple[str, ...],
        key("fields of /proc/net/{snmp,netstat,snmp6} to tell: globs of PROTOCOL_FIELD", reason="as node_exporter"),
    ] = NETSTAT
    max: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000)],
        key("interfaces to tell of; more are counted and left out", reason="bounds the series"),
    ] = 5000


class Sockets(Section, frozen=True):
    """How sockets are read."""

    source: Annotated[
        Literal["auto", "iterators", "sock_diag"],
        key("what tells of sockets", reason="auto: BPF iterators and events; sock_diag and /proc where they are not to be had"),
    ] = "auto"
    interval: Annotated[
        Annotated[float, msgspec.Meta(ge=1, le=3600)],
        key("how often all sockets are read", unit="s", reason="what lives shorter is told of by the kernel meanwhile"),
    ] = 15.0


class Conntrack(Section, frozen=True):
    """Address translation."""

    max: Annotated[
        Annotated[int, msgspec.Meta(ge=100, le=4_000_000)],
        key("translated connections that flows can be told of", reason="250 bytes each; those that ended first leave first"),
    ] = 131_072


class History(Section, frozen=True):
    """What the agent remembers of flows, sockets and interfaces, for questions about the past."""

    size: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=1 << 40)],
        key(
            "room on disk; the oldest leaves first; 0: nothing is remembered",
            unit="bytes",
            reason="some 5 million records of flows: hours of a busy host",
        ),
    ] = 256 << 20
    age: Annotated[
        Annotated[float, msgspec.Meta(ge=60, le=YEAR)],
        key("forget what is older", unit="s", reason="for what happened just now; for longer, export to a database"),
    ] = 6 * 3600.0
    run_dir: Annotated[
        str,
        key(
            "folder in memory where the flow table outlives a killed agent",
            reason="it is lost at a restart of the host, as what the kernel counted",
        ),
    ] = "/run/skytrail"
    interfaces: Annotated[
        Annotated[float, msgspec.Meta(ge=1, le=3600)],
        key("how often what went through interfaces is noted", unit="s", reason="as Skydive's metrics_update"),
    ] = 30.0


class Containers(Section, frozen=True):
    """Who tells the names of containers and pods."""

    docker: Annotated[
        tuple[str, ...],
        key("more sockets that speak Docker's API (dockerd, podman)", reason="the usual places are looked at anyway"),
    ] = ()
    cri: Annotated[
        tuple[str, ...],
        key("more sockets that speak Kubernetes' CRI (containerd, CRI-O)", reason="the usual places are looked at anyway"),
    ] = ()


class Agent(Section, frozen=True):
    """The agent: what it collects, and its HTTP server: metrics, flows, sockets, status."""

    collectors: Annotated[
        tuple[Literal["flows", "interfaces", "sockets", "drops", "conntrack"], ...],
        key("what is collected", reason="everything"),
    ] = ("flows", "interfaces", "sockets", "drops", "conntrack")
    listen: Annotated[
        str,
        key("address and port of the agent's HTTP", reason="loopback: nothing is open until asked for", check=check_address),
    ] = "127.0.0.1:8081"
    hubs: Annotated[
        tuple[str, ...],
        key(
            "hubs, address:port, that are told what this host is made of: the first one that answers",
            reason="none: it is told to nobody",
            check=check_addresses,
        ),
    ] = ()
    shared_kernel: Annotated[
        bool,
        key(
            "other agents look at this kernel too, each at namespaces of its own, as in 'skytrail lab'",
            reason="what happens in a namespace that is not known yet is told of too",
        ),
    ] = False
    keep_capabilities: Annotated[
        tuple[str, ...],
        key(
            "capabilities that the agent keeps beside those that it needs, as dac_override; all: it gives up none",
            reason="the least: see docs/deployment.md",
            check=check_capabilities,
        ),
    ] = ()
    outbox_max: Annotated[
        Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 40)],
        key("what waits for a hub on disk", unit="bytes", reason="beyond it history becomes coarser; what is now is kept"),
    ] = 64 << 20


class Hub(Section, frozen=True):
    """The hub: its HTTP server, and where agents reach it."""

    listen: Annotated[
        str,
        key("address and port of the hub's HTTP", reason="loopback: nothing is open until asked for", check=check_address),
    ] = "127.0.0.1:8082"
    wire: Annotated[
        str, key("address and port for agents (gRPC)", reason="loopback: nothing is open until asked for", check=check_address)
    ] = "127.0.0.1:8083"
    advertise: Annotated[
        str,
        key(
            "address and port at which other hubs of the same graph reach hub.wire, its own and no load balancer's",
            reason="empty: hub.wire, and this host's name where that is every address",
            check=check_advertised,
        ),
    ] = ""
    ask_timeout: Annotated[
        Interval, key("how long agents have to answer a question", unit="s", reason="who has not is told as missing")
    ] = 5.0
    ask_max: Annotated[
        Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 32)],
        key("answers to one question, of all agents together", unit="bytes", reason="some 50,000 flows; three such at once"),
    ] = 64 << 20


class Wire(Section, frozen=True):
    """The connection between agents and hubs, of both ends: mutual TLS ('skytrail pki' makes the files)."""

    tls_cert: Annotated[
        str | None,
        key(
            "file with our certificate chain (PEM), which says who an agent is; read again when it changes",
            reason="null: no TLS, for loopback alone",
        ),
    ] = None
    tls_key: Annotated[str | None, key("file with the certificate's key (PEM)", reason="null: no TLS")] = None
    tls_ca: Annotated[
        str | None,
        key("file with the authorities that the other end's certificate must be of (PEM)", reason="null: no TLS"),
    ] = None
    tls_crl: Annotated[
        str | None,
        key(
            "file with revoked certificates (PEM), for hubs; read again when it changes",
            reason="null: none is",
        ),
    ] = None


class JanusGraph(Section, frozen=True):
    """The graph in JanusGraph, where topology.store says so."""

    url: Annotated[str, key("Gremlin Server's WebSocket", reason="its default port on this host")] = (
        "ws://127.0.0.1:8182/gremlin"
    )
    source: Annotated[str, key("traversal source there", reason="JanusGraph's own configuration has this one")] = "g"
    timeout: Annotated[Interval, key("longest wait for one answer", unit="s", reason="a large batch takes a while")] = 60.0
    username: Annotated[str, key("user, where the server asks for one", reason="empty: none")] = ""
    password: Annotated[str, key("the user's password", reason="empty: none", secret=True)] = ""
    transactional: Annotated[
        bool,
        key("its storage commits a transaction whole: false for Cassandra and ScyllaDB", reason="BerkeleyJE and in-memory do"),
    ] = True
    spool_max: Annotated[
        Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 40)],
        key("room on disk for changes while it is away", unit="bytes", reason="hours of changes of a site"),
    ] = 256 << 20


class Ovsdb(Section, frozen=True):
    """Databases of Open vSwitch: of this host's, and of switches that it tells of."""

    databases: Annotated[
        tuple[str, ...],
        key(
            "where they are: unix:/PATH, tcp:HOST:PORT or ssl:HOST:PORT; none: Open vSwitch is not asked",
            reason="where Open vSwitch has it; while nothing is there, it is waited for",
            check=check_databases,
        ),
    ] = ("unix:/run/openvswitch/db.sock",)
    openflow: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=100_000)],
        key(
            "rules, and groups, of OpenFlow of each bridge that are elements, at most (by ovs-ofctl); 0: none is read",
            reason="off: a large switch has a hundred thousand, and changes them all the time",
        ),
    ] = 0
    tls_cert: Annotated[str | None, key("file with our certificate (PEM), for ssl", reason="null: no TLS")] = None
    tls_key: Annotated[str | None, key("file with the certificate's key (PEM), for ssl", reason="null: no TLS")] = None
    tls_ca: Annotated[
        str | None, key("file with the authorities that the database's certificate must be of (PEM)", reason="null: no TLS")
    ] = None


class ContainerFacts(Section, frozen=True):
    """Containers in the graph. Where runtimes are: ``containers``."""

    enabled: Annotated[
        bool, key("have containers and their networks in the graph", reason="where no runtime is, it costs nothing")
    ] = True
    labels: Annotated[
        tuple[str, ...], key("patterns of the labels that are kept", reason="people find their containers by them")
    ] = ("*",)
    labels_denied: Annotated[
        tuple[str, ...],
        key(
            "patterns of the labels that are not kept, whatever labels says, and of single words of theirs: key is in pgp_key",
            reason="secrets are none of the graph's",
        ),
    ] = (
        *("*pass*", "*pwd*", "*secret*", "*token*", "*credential*", "*basicauth*", "*digestauth*"),
        *("*access*key*", "*api*key*", "*private*key*", "*ssh*key*"),
        *("auth", "oauth", "cert", "certs", "cred", "creds", "dsn", "jwt", "key", "keys", "psk", "pw", "salt"),
    )


class Kubernetes(Section, frozen=True):
    """Clusters whose API servers the hub asks."""

    clusters: Annotated[
        Mapping[str, str],
        key(
            "name: where it is, in-cluster or a kubeconfig file, FILE#CONTEXT for another context than its current one",
            reason="the cluster that the hub runs in, where it runs in one",
            check=check_clusters,
        ),
    ] = msgspec.field(default_factory=lambda: {"kubernetes": "in-cluster"})
    kinds: Annotated[
        tuple[KubernetesKind, ...],
        key(
            "which kinds of objects are followed",
            reason="all but secret: whoever may list names of secrets may read them, for permissions do not tell these apart",
        ),
    ] = tuple(one for one in get_args(KubernetesKind) if one != "secret")
    annotations: Annotated[
        tuple[str, ...],
        key("patterns of annotations that are kept, such as example.com/*", reason="they are long, many, and may be secret"),
    ] = ()


class Topology(Section, frozen=True):
    """The graph and its history."""

    enabled: Annotated[bool, key("build the graph of this host in skytrail up", reason="what up is for")] = True
    store: Annotated[
        Literal["embedded", "janusgraph"],
        key("where the graph is kept: a file below state_dir, or JanusGraph", reason="needs no server"),
    ] = "embedded"
    janusgraph: JanusGraph = JanusGraph()
    ovsdb: Ovsdb = Ovsdb()
    containers: ContainerFacts = ContainerFacts()
    other_probes: Annotated[
        tuple[str, ...] | None,
        key("which probes of other packages run; null: all that are installed", reason="who installs one wants it"),
    ] = None
    probe_options: Annotated[
        Mapping[str, str],
        key("what a probe of another package is told: NAME.KEY: value", reason="only its author knows its keys"),
    ] = {}
    synchronous: Annotated[
        Literal["normal", "full"],
        key(
            "what acknowledged changes survive", reason="normal: the death of the process; full: of the machine, an fsync each"
        ),
    ] = "normal"
    retention_age: Annotated[
        Annotated[float, msgspec.Meta(ge=60, le=100 * YEAR)] | None,
        key("forget revisions that ended longer ago; null: never", unit="s", reason="a month of changes"),
    ] = 30 * 86400.0
    retention_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 50)] | None,
        key("forget the oldest beyond so much; null: never", unit="bytes", reason="some million revisions"),
    ] = 4 << 30
    linkers: Annotated[
        tuple[Literal["tunnel", "neighbour", "nexthop", "kubernetes", "service"], ...],
        key(
            "which edges between hosts, and to what a cluster says, the hub makes of what several tell",
            reason="each costs little; service, the map of services, asks all agents for their sockets every 30 s",
        ),
    ] = ("tunnel", "neighbour", "nexthop", "kubernetes")


Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]


class Gremlin(Section, frozen=True):
    """Queries of the graph: what one may take, and how many there may be at once."""

    listen: Annotated[
        str | None,
        key(
            "another address and port of the hub, as 127.0.0.1:8182, where drivers look for a Gremlin Server",
            reason="null: hub.listen answers them",
            check=check_address,
        ),
    ] = None
    timeout: Annotated[
        Annotated[float, msgspec.Meta(ge=0.1, le=3600)],
        key("longest that a query may take", unit="s", reason="as a Gremlin Server's evaluationTimeout"),
    ] = 30.0
    results: Annotated[Count, key("most answers of a query", reason="a million of nodes is a gigabyte of JSON")] = 1_000_000
    held: Annotated[
        Count, key("most elements, paths and values that a query may hold at once", reason="some hundred MiB at worst")
    ] = 2_000_000
    running: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=256)],
        key("queries that run at once", reason="those that use an index take about a ms"),
    ] = 8
    waiting: Annotated[
        Count, key("queries that wait for these; more get 503 with Retry-After", reason="a second of indexed queries")
    ] = 256
    scans: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=256)],
        key("queries that look at the whole graph at once", reason="they share the interpreter with all others"),
    ] = 2
    scans_waiting: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=256)],
        key("queries that wait for these; more get 503 with Retry-After", reason="each holds one of those that run"),
    ] = 4


class Http(Section, frozen=True):
    """TLS, authentication and limits of every HTTP server of the process."""

    tls_cert: Annotated[
        str | None, key("file with the certificate chain (PEM); read again when it changes", reason="null: no TLS")
    ] = None
    tls_key: Annotated[str | None, key("file with the certificate's key (PEM)", reason="null: no TLS")] = None
    token_file: Annotated[
        str | None,
        key(
            "file with bearer tokens: name:role:hash a line (skytrail token writes it), or a token as it is, which may do "
            "everything; read again when it changes",
            reason="null: no token is asked for",
        ),
    ] = None
    users_file: Annotated[
        str | None,
        key(
            "file with lines user:role:hash for basic authentication (role: read, capture, admin; without one: admin; "
            "hash: skytrail config --hash-password); read again when it changes",
            reason="null: no user is asked for",
        ),
    ] = None
    login_file: Annotated[
        str | None,
        key(
            "file with a token, or with user:password, that the command line gives to a running agent or hub",
            reason="null: the first of http.token_file that is not hashed",
        ),
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        key(
            "names that a request's Host header may give beside our own; '*': any",
            reason="empty: the address listened on and localhost, so that no web page reaches us by a name of its own",
        ),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], key("origins whose web pages may read answers", reason="none; '*' is refused with users_file")
    ] = ()
    insecure: Annotated[
        bool,
        key("listen beyond loopback even without both TLS and authentication", reason="flows tell who talks to whom"),
    ] = False


class PerFlow(Section, frozen=True):
    """The opt-in metrics with a series per conversation."""

    enabled: Annotated[bool, key("offer skytrail_flow_* with a tracking_id", reason="its cardinality")] = False
    max: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100_000)],
        key("most conversations at once; the rest is one overflow series", unit="flows", reason="top talkers"),
    ] = 100
    ttl: Annotated[Interval, key("how long a conversation stays after its last packet", unit="s", reason="a few scrapes")] = (
        300.0
    )


class Prometheus(Section, frozen=True):
    """What /metrics offers."""

    per_flow: PerFlow = PerFlow()
    owners: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100_000)],
        key(
            "owners of flows, and names of processes that have sockets, that metrics tell apart; more are 'overflow'",
            reason="bounds the series",
        ),
    ] = 200
    peers: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=100_000)],
        key(
            "pairs of owners, who sends to whom, that metrics tell apart at all capture points; more are 'overflow'; 0: none",
            reason="0: its cardinality",
        ),
    ] = 0
    exemplars: Annotated[
        bool, key("give exemplars to scrapers that ask for OpenMetrics", reason="they lead from a graph to a trace")
    ] = True


class OtlpSignal(Section, frozen=True):
    """What differs for one signal."""

    endpoint: Annotated[
        str | None,
        key("URL, used as it is (no path is added)", reason=OFF, check=check_endpoint),
    ] = None
    protocol: Annotated[Protocol | None, key("protocol", reason=OFF)] = None
    headers: Annotated[Mapping[str, str] | None, key("headers", reason=OFF, secret=True)] = None
    compression: Annotated[Compression | None, key("compression", reason=OFF)] = None
    timeout: Annotated[Interval | None, key("longest wait for one answer", unit="s", reason=OFF)] = None
    certificate: Annotated[str | None, key("file", reason=OFF)] = None
    client_key: Annotated[str | None, key("file", reason=OFF)] = None
    client_certificate: Annotated[str | None, key("file", reason=OFF)] = None
    insecure: Annotated[bool | None, key("no TLS", reason=OFF)] = None


class Otlp(Section, frozen=True):
    """Export to an OpenTelemetry collector; the standard OTEL_* variables are read too."""

    disabled: Annotated[bool, key("switch the export off", reason="an endpoint is enough to switch it on")] = False
    endpoint: Annotated[
        str | None,
        key(
            "collector: URL, or host:port for grpc; http/protobuf adds v1/traces and v1/metrics",
            reason="null: no export",
            check=check_endpoint,
        ),
    ] = None
    protocol: Annotated[Protocol, key("protocol", reason="the cheaper one for both ends")] = "grpc"
    headers: Annotated[
        Mapping[str, str],
        key("headers of each request, as authorization", reason="a collector beside us asks for none", secret=True),
    ] = {}
    compression: Annotated[Compression, key("compression", reason="as the specification; spares our CPU")] = "none"
    timeout: Annotated[Interval, key("longest wait for one answer", unit="s", reason="as the specification")] = 10.0
    certificate: Annotated[str | None, key("file with the authorities to trust (PEM)", reason="null: the system's")] = None
    client_key: Annotated[str | None, key("file with our key for mutual TLS (PEM)", reason="null: no mutual TLS")] = None
    client_certificate: Annotated[
        str | None, key("file with our certificate for mutual TLS (PEM)", reason="null: no mutual TLS")
    ] = None
    insecure: Annotated[
        bool, key("no TLS for a grpc endpoint without a scheme", reason="as the specification; http:// says it too")
    ] = False
    queue_max: Annotated[
        Annotated[int, msgspec.Meta(ge=65536, le=1 << 34)],
        key("room for what waits; what does not fit is dropped and counted", unit="bytes", reason="minutes of spans"),
    ] = 64 << 20
    batch_max: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=65536)],
        key("most spans in one request", unit="spans", reason="stays below gRPC's 4 MiB"),
    ] = 8192
    trace_epoch: Annotated[
        Annotated[float, msgspec.Meta(ge=60, le=YEAR)] | None,
        key("fold this period into the trace id", unit="s", reason="null: one trace a conversation, however long"),
    ] = None
    metrics_interval: Annotated[Interval, key("how often metrics are sent", unit="s", reason="as the SDKs")] = 60.0
    spans: Annotated[bool, key("send a span a flow record", reason="what an endpoint is given for")] = True
    metrics: Annotated[bool, key("send the metrics of /metrics", reason="what an endpoint is given for")] = True
    service_name: Annotated[
        Annotated[str, msgspec.Meta(min_length=1)], key("resource attribute service.name", reason="what we are")
    ] = "skytrail"
    resource_attributes: Annotated[
        Mapping[str, str], key("more resource attributes", reason="the host's are always there")
    ] = {}
    spans_to: OtlpSignal = OtlpSignal()
    metrics_to: OtlpSignal = OtlpSignal()

    def exports(self, signal: Literal["traces", "metrics"]) -> bool:
        """Whether ``signal`` is switched on and has an endpoint."""
        own, wanted = (self.spans_to, self.spans) if signal == "traces" else (self.metrics_to, self.metrics)
        return wanted and not self.disabled and (own.endpoint or self.endpoint) is not None


class Settings(Section, frozen=True):
    """Everything that can be set."""

    host_id: Annotated[
        Annotated[str, msgspec.Meta(min_length=1)] | None,
        key("this host's identity in the graph and in flows", reason="null: /etc/machine-id"),
    ] = None
    state_dir: Annotated[str, key("folder for what must survive a restart", reason="Filesystem Hierarchy Standard")] = (
        "/var/lib/skytrail"
    )
    log: Log = Log()
    flow: Flow = Flow()
    interfaces: Interfaces = Interfaces()
    containers: Containers = Containers()
    sockets: Sockets = Sockets()
    history: History = History()
    conntrack: Conntrack = Conntrack()
    subnets: Annotated[
        Mapping[str, str],
        key("network: name, a label of metrics and flows", reason="only you know their names", check=check_subnets),
    ] = {}
    agent: Agent = Agent()
    hub: Hub = Hub()
    wire: Wire = Wire()
    topology: Topology = Topology()
    kubernetes: Kubernetes = Kubernetes()
    gremlin: Gremlin = Gremlin()
    http: Http = Http()
    prometheus: Prometheus = Prometheus()
    otlp: Otlp = Otlp()
