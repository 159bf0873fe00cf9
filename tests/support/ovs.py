"""Open vSwitch with its userspace datapath: one pair of daemons for each simulated host, in its network namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.needs import tool
from support.netlab import Net, until

_PATIENCE = 60.0  # seconds: in an emulated machine everything takes long
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Switch:
    """ovsdb-server and ovs-vswitchd of one host; the test's :class:`Net` ends them.

    Args:
        net: where its processes belong.
        netns: the host's namespace.
        folder: for database, sockets and logs; its path must be short (108 bytes for a socket's).
        listens: more words for ovsdb-server, as ``--remote=ptcp:…``; with some it runs in the test's own namespace.

    Attributes:
        remote: of the database.
    """

    def __init__(self, net: Net, netns: str, folder: Path, *listens: str) -> None:
        self._net, self._netns, self._folder, self._listens = net, netns, folder, listens
        tool("ovs-vswitchd", "openvswitch-switch")
        folder.mkdir()
        self._database, self._socket = folder / "conf.db", folder / "db.sock"
        self.remote, self._control = f"unix:{self._socket}", folder / "vswitchd.ctl"
        subprocess.run(["ovsdb-tool", "create", self._database, _SCHEMA], check=True)
        self.start_database()
        self.vsctl("--no-wait", "init")
        self.start_switch()

    def start_database(self) -> None:
        """Start ovsdb-server, once more after it was killed."""
        self._socket.unlink(missing_ok=True)
        where = "" if self._listens else self._netns
        own = f"--remote=punix:{self._socket}"
        self._server = self._daemon(where, "ovsdb-server", str(self._database), own, *self._listens)
        until(self._socket.exists, _PATIENCE)

    def start_switch(self) -> None:
        """Start ovs-vswitchd, once more after it was killed."""
        self._control.unlink(missing_ok=True)
        self._switch = self._daemon(self._netns, "ovs-vswitchd", self.remote)
        until(self._control.exists, _PATIENCE)

    def kill_switch(self) -> None:
        """Kill ovs-vswitchd; its sockets stay, as they do then."""
        self._switch.kill()
        self._switch.wait()

    def kill_database(self) -> None:
        """Kill ovsdb-server; its socket stays, as it does then."""
        self._server.kill()
        self._server.wait()

    def _daemon(self, netns: str, word: str, *own: str) -> subprocess.Popen[str]:
        folder = self._folder
        quiet = [f"--unixctl={folder / word.removeprefix('ovs-')}.ctl", f"--log-file={folder / word}.log", "-vconsole:off"]
        command = ["env", f"OVS_RUNDIR={folder}", word, *own, f"--pidfile={folder / word}.pid", *quiet]
        return self._net.spawn(netns, *command)

    def vsctl(self, *words: str) -> str:
        """Run ``ovs-vsctl``; words that hold a blank are split. Returns when the switch has done it."""
        split = [part for word in words for part in word.split()]
        return self._run("ovs-vsctl", "--timeout=10", f"--db={self.remote}", *split)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table as ``ovs-vsctl list`` shows it: sets as lists, maps as mappings, UUIDs as text."""
        told = json.loads(self.vsctl("--format=json", "list", table))
        return [dict(zip(told["headings"], map(_plain, row), strict=True)) for row in told["data"]]

    def flows(self, bridge: str, *flows: str) -> None:
        """Replace a bridge's OpenFlow rules."""
        self.ofctl("del-flows", bridge)
        for flow in flows:
            self.ofctl("add-flow", bridge, flow)

    def ofctl(self, command: str, bridge: str, *words: str, options: Sequence[str] = ()) -> str:
        """Run ``ovs-ofctl``."""
        management = f"unix:{self._folder / bridge}.mgmt"
        return self._run("ovs-ofctl", "-O", "OpenFlow13,OpenFlow15", *options, command, management, *words)

    def route(self, network: str, bridge: str) -> None:
        """Tell the switch by which bridge a network is reached: it reads the kernel's routes only now and then."""
        self.appctl("ovs/route/add", network, bridge)

    def appctl(self, *words: str) -> str:
        """Run ``ovs-appctl`` for ovs-vswitchd."""
        return self._run("ovs-appctl", "-t", str(self._control), *words)

    def _run(self, *command: str) -> str:
        # its daemons look for the sockets of bridges here
        return self._net.run(self._netns, "env", f"OVS_RUNDIR={self._folder}", *command)


def _plain(value: Any) -> Any:
    """RFC 7047's values."""
    match value:
        case ["set", members]:
            return [_plain(one) for one in members]
        case ["map", pairs]:
            return {_plain(key): _plain(one) for key, one in pairs}
        case ["uuid", text]:
            return text
    return value
