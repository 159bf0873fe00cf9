"""Applications by port, until packets themselves tell: a bounded list, so that it can be a label.

Port numbers: IANA's registry (Service Name and Transport Protocol Port Number Registry), and what is common practice for
the ones that IANA gives to nobody (8080, 9092 …).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_BOTH = {
    7: "ECHO", 53: "DNS", 88: "KERBEROS", 111: "PORTMAP", 123: "NTP", 137: "NETBIOS", 138: "NETBIOS", 161: "SNMP",
    162: "SNMPTRAP", 389: "LDAP", 443: "HTTPS", 500: "ISAKMP", 514: "SYSLOG", 636: "LDAPS", 853: "DOT", 1194: "OPENVPN",
    1812: "RADIUS", 2049: "NFS", 3478: "STUN", 5060: "SIP", 11211: "MEMCACHED",
}  # fmt: skip
_TCP = {
    20: "FTP", 21: "FTP", 22: "SSH", 23: "TELNET", 25: "SMTP", 80: "HTTP", 110: "POP3", 143: "IMAP", 179: "BGP", 445: "SMB",
    465: "SMTPS", 587: "SMTP", 993: "IMAPS", 995: "POP3S", 1433: "MSSQL", 1521: "ORACLE", 1883: "MQTT", 2181: "ZOOKEEPER",
    2379: "ETCD", 2380: "ETCD", 3000: "GRAFANA", 3306: "MYSQL", 3389: "RDP", 4317: "OTLP", 4318: "OTLP", 5201: "IPERF",
    5432: "POSTGRES", 5672: "AMQP", 5671: "AMQPS", 5900: "VNC", 6379: "REDIS", 6443: "KUBERNETES", 6640: "OVSDB",
    6641: "OVN", 6642: "OVN", 6653: "OPENFLOW", 8080: "HTTP", 8081: "SKYTRAIL", 8082: "SKYTRAIL", 8083: "SKYTRAIL",
    8182: "GREMLIN", 8443: "HTTPS", 9042: "CASSANDRA", 9090: "PROMETHEUS", 9092: "KAFKA", 9100: "NODE_EXPORTER",
    9200: "ELASTICSEARCH", 10250: "KUBELET", 27017: "MONGODB",
}  # fmt: skip
_UDP = {
    67: "DHCPV4", 68: "DHCPV4", 69: "TFTP", 546: "DHCPV6", 547: "DHCPV6", 1900: "SSDP", 2055: "NETFLOW", 3784: "BFD",
    4500: "IPSEC_NAT", 4739: "IPFIX", 4789: "VXLAN", 5201: "IPERF", 5353: "MDNS", 6081: "GENEVE", 6343: "SFLOW",
    8472: "VXLAN", 51820: "WIREGUARD",
}  # fmt: skip


class Applications:
    """Names of applications by transport and port.

    Args:
        overrides: per transport (``tcp``, ``udp``) port → name; names are shown in upper case.

    """

    def __init__(self, overrides: Mapping[str, Mapping[int, str]] | None = None) -> None:
        self.names: list[str] = [""]
        self._tables = {}
        for proto, transport, own in ((6, "tcp", _TCP), (17, "udp", _UDP)):
            ports = {**_BOTH, **own, **(overrides or {}).get(transport, {})}
            self._tables[proto] = self._table(ports)

    def _table(self, ports: Mapping[int, str]) -> NDArray[np.uint16]:
        table = np.zeros(65536, np.uint16)
        for port, name in ports.items():
            upper = name.upper()
            if upper not in self.names:
                self.names.append(upper)
            table[port] = self.names.index(upper)
        return table

    def numbers(self, proto: NDArray[np.uint8], low: NDArray[np.uint16], high: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Index into ``names`` of each flow, 0 where its ports have no name.

        Args:
            proto: IP protocols, uint8[n].
            low: one port of each flow.
            high: the other; where both have a name, the lower port's is taken.

        """
        result = np.zeros(len(proto), np.uint16)
        small, large = np.minimum(low, high), np.maximum(low, high)
        for number, table in self._tables.items():
            chosen = proto == number
            named = table[small[chosen]]
            result[chosen] = np.where(named, named, table[large[chosen]])
        return result
