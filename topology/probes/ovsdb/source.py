"""A replica of Open vSwitch's database, followed on a thread of its own by the project's own library. I/O.

Only the columns that become facts are asked for, so that statistics, which change every few seconds, wake nobody. All of them
are there since Open vSwitch 2.8.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from topology.probes.ovsdb.translate import Row, Tables

_log = structlog.get_logger(__name__)

LOCAL = "unix:"
"""How a database's address begins that is a socket of this host's."""

_LOOK = 1.0  # seconds between two looks for a socket that is not there
_REST = 20  # ms in which changes that come together become one
_ROOT = "Open_vSwitch"
"""The table that has one row, from the first start of a switch on."""
_ABSENT = "is not there"

Column: TypeAlias = "str | dict[str, Any]"


def _optional(kind: str) -> Column:
    return {"key": kind, "min": 0, "max": 1}


def _set(kind: str) -> Column:
    return {"key": kind, "min": 0, "max": "unlimited"}


def _rows(table: str) -> Column:
    return {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": "unlimited"}


_MAP: Column = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}

SCHEMA: Mapping[str, Mapping[str, Column]] = {
    "Open_vSwitch": {
        "ovs_version": _optional("string"),
        "db_version": _optional("string"),
        "manager_options": _rows("Manager"),
        "external_ids": _MAP,
        "other_config": _MAP,
    },
    "Manager": {"target": "string", "is_connected": "boolean"},
    "Controller": {"target": "string", "is_connected": "boolean", "role": _optional("string")},
    "Bridge": {
        "name": "string",
        "ports": _rows("Port"),
        "mirrors": _rows("Mirror"),
        "controller": _rows("Controller"),
        "stp_enable": "boolean",
        "rstp_enable": "boolean",
        "mcast_snooping_enable": "boolean",
        "flood_vlans": _set("integer"),
        "datapath_type": "string",
        "datapath_id": _optional("string"),
        "fail_mode": _optional("string"),
        "protocols": _set("string"),
        "external_ids": _MAP,
        "other_config": _MAP,
    },
    "Port": {
        "name": "string",
        "interfaces": _rows("Interface"),
        "tag": _optional("integer"),
        "trunks": _set("integer"),
        "cvlans": _set("integer"),
        "vlan_mode": _optional("string"),
        "bond_mode": _optional("string"),
        "lacp": _optional("string"),
        "bond_active_slave": _optional("string"),
        "status": _MAP,
        "rstp_status": _MAP,
        "external_ids": _MAP,
        "other_config": _MAP,
    },
    "Interface": {
        "name": "string",
        "type": "string",
        "ofport": _optional("integer"),
        "mac_in_use": _optional("string"),
        "ifindex": _optional("integer"),
        "admin_state": _optional("string"),
        "link_state": _optional("string"),
        "mtu": _optional("integer"),
        "lacp_current": _optional("boolean"),
        "options": _MAP,
        "status": _MAP,
        "error": _optional("string"),
        "external_ids": _MAP,
        "other_config": _MAP,
    },
    "Mirror": {
        "name": "string",
        "select_all": "boolean",
        "select_src_port": _rows("Port"),
        "select_dst_port": _rows("Port"),
        "select_vlan": _set("integer"),
        "output_port": _rows("Port"),
        "output_vlan": _optional("integer"),
        "snaplen": _optional("integer"),
        "external_ids": _MAP,
    },
}
"""The columns that are followed, by table."""


class DatabaseSource:
    """Follows a database wherever it goes, and hands over all its rows after each change.

    Args:
        remote: ``unix:PATH``, ``tcp:HOST:PORT`` or ``ssl:HOST:PORT``.
        take: takes the rows; on this thread. Called again, with the same rows, after :meth:`wake`.
        tls: files of our key, of our certificate and of the authorities; for ``ssl`` only.

    Attributes:
        resyncs: how often all was told anew after a gap.
        failure: why the rows are not those of now; None: they are.
        note: why they never will be, which holds up nothing else; None: nothing is in the way.
    """

    def __init__(self, remote: str, take: Callable[[Tables], object], tls: tuple[str, str, str] | None = None) -> None:
        self._remote, self._take, self._tls = remote, take, tls
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = threading.Lock()  # whoever wakes does not know when we end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)
        self.resyncs = 0
        self.note: str | None = None
        self.failure: str | None = f"the database {_ABSENT}"

    @property
    def absent(self) -> bool:
        """Whether it was never seen, and nothing is there to be connected to: this host has no Open vSwitch."""
        return self.failure is not None and self.failure.endswith(_ABSENT) and not self.resyncs

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Have the rows handed over once more, soon; nothing, while there are none."""
        with self._waking:
            if not self._stopping.is_set():
                os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End."""
        with self._waking:
            self._stopping.set()
            os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._remote.startswith(LOCAL) and not Path(self._remote.removeprefix(LOCAL)).exists():
                self._stopping.wait(_LOOK)
                continue
            try:
                self._follow()
            except ImportError:
                self.note = "its library is missing: pip install 'skytrail[ovs]', or set topology.ovsdb.databases to []"
                _log.warning("ovsdb_not_read", remote=self._remote, reason=self.note)
                return
            except Exception as error:  # noqa: BLE001 - whatever the library makes of an answer: begin anew
                self.failure = f"{self._remote}: {error!r}"
                _log.exception("ovsdb_failed", remote=self._remote)
                self._stopping.wait(_LOOK)

    def _follow(self) -> None:
        import ovs.poller  # noqa: PLC0415 - an extra, of no use where there is no Open vSwitch

        self.failure = f"{self._remote} does not answer"
        replica, seen, told = _replica(self._remote, self._tls), 0, False
        rows = _Rows(replica)
        try:
            while not self._stopping.is_set():
                replica.run()
                connected = replica._session.is_connected()  # noqa: SLF001 - the library tells nowhere else
                if replica.change_seqno != seen and connected:
                    seen, found = replica.change_seqno, rows.read()
                    if not found[_ROOT]:  # what the library cannot read it leaves out, and tells nobody
                        told, self.failure = False, f"{self._remote} has no row in {_ROOT}: see 'ovs-vsctl init'"
                        continue
                    told = True
                    if self.failure is not None:
                        self.resyncs += 1
                    self.failure = None
                    self._take(found)
                    self._stopping.wait(_REST / 1000)
                    continue
                if told and not connected:
                    self.failure = f"{self._remote} went away"
                poller = ovs.poller.Poller()
                replica.wait(poller)
                poller.fd_wait(self._wake, ovs.poller.POLLIN)
                poller.block()
                if self._woken() and told and not self._stopping.is_set():
                    began = time.monotonic()
                    self._take(rows.read())
                    # where devices come and go all the time, and are many, this is half of a core at most
                    self._stopping.wait(max(_REST / 1000, time.monotonic() - began))
        finally:
            replica.close()

    def _woken(self) -> bool:
        try:
            return bool(os.eventfd_read(self._wake))
        except BlockingIOError:
            return False


def _replica(remote: str, tls: tuple[str, str, str] | None) -> Any:  # noqa: ANN401 - ovs.db.idl.Idl: it has no types
    import ovs.db.idl  # noqa: PLC0415
    import ovs.stream  # noqa: PLC0415

    if tls is not None:
        key, certificate, authorities = tls
        ovs.stream.Stream.ssl_set_private_key_file(key)
        ovs.stream.Stream.ssl_set_certificate_file(certificate)
        ovs.stream.Stream.ssl_set_ca_cert_file(authorities)
    tables = {
        table: {"columns": {name: {"type": kind} for name, kind in columns.items()}, "isRoot": True}
        for table, columns in SCHEMA.items()
    }
    schema = ovs.db.idl.SchemaHelper(schema_json={"name": "Open_vSwitch", "version": "7.15.0", "tables": tables})
    schema.register_all()
    return ovs.db.idl.Idl(remote, schema, leader_only=False)


class _Rows:
    """The replica's rows as plain values: those that are as they were are not made again."""

    def __init__(self, replica: Any) -> None:  # noqa: ANN401 - ovs.db.idl.Idl
        self._replica = replica
        self._changed: set[Any] = set()  # UUIDs
        self._made: dict[Any, tuple[Any, Row]] = {}
        replica.notify = self._notify

    def _notify(self, event: str, row: Any, updates: Any = None) -> None:  # noqa: ANN401 - the library's
        _ = event, updates
        self._changed.add(row.uuid)

    def read(self) -> Tables:
        """All rows by table and UUID."""
        found: dict[str, dict[str, Row]] = {}
        made: dict[Any, tuple[Any, Row]] = {}
        for table, columns in SCHEMA.items():
            rows = found[table] = {}
            for uuid, row in self._replica.tables[table].rows.items():
                known = self._made.get(uuid)
                if known is None or known[0] is not row or uuid in self._changed:  # another row: all were told anew
                    known = row, {column: _plain(getattr(row, column)) for column in columns}
                made[uuid] = known
                rows[str(uuid)] = known[1]
        self._made, self._changed = made, set()
        return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - a column's
    """References become UUIDs."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return dict(value)
    return str(value.uuid) if hasattr(value, "uuid") else value
