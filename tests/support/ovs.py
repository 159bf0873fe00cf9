"""Open vSwitch with its userspace datapath: one pair of daemons for each simulated host, in its network namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.needs import tool
from support.netlab import Net, until

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Switch:
    """ovsdb-server and ovs-vswitchd of one host; the test's :class:`Net` ends them.

    Args:
        net: where its processes belong.
        netns: the host's namespace.
        folder: for database, sockets and logs; its path must be short (108 bytes for a socket's).
    """

    def __init__(self, net: Net, netns: str, folder: Path) -> None:
        self._net, self._netns, self._folder = net, netns, folder
        tool("ovs-vswitchd", "openvswitch-switch")
        folder.mkdir()
        database, socket = folder / "conf.db", folder / "db.sock"
        self._db, self._control = f"unix:{socket}", folder / "vswitchd.ctl"
        subprocess.run(["ovsdb-tool", "create", database, _SCHEMA], check=True)
        for word in ("ovsdb-server", "ovs-vswitchd"):
            own = [str(database), f"--remote=punix:{socket}"] if word == "ovsdb-server" else [self._db]
            quiet = [f"--unixctl={folder / word.removeprefix('ovs-')}.ctl", f"--log-file={folder / word}.log", "-vconsole:off"]
            net.spawn(netns, "env", f"OVS_RUNDIR={folder}", word, *own, f"--pidfile={folder / word}.pid", *quiet)
            until(socket.exists)
            if word == "ovsdb-server":
                self.vsctl("--no-wait", "init")
        until(self._control.exists)

    def vsctl(self, *words: str) -> str:
        """Run ``ovs-vsctl``; words that hold a blank are split. Returns when the switch has done it."""
        split = [part for word in words for part in word.split()]
        return self._run("ovs-vsctl", "--timeout=10", f"--db={self._db}", *split)

    def flows(self, bridge: str, *flows: str) -> None:
        """Replace a bridge's OpenFlow rules."""
        management = f"unix:{self._folder / bridge}.mgmt"
        self._run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", management)
        for flow in flows:
            self._run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", management, flow)

    def route(self, network: str, bridge: str) -> None:
        """Tell the switch by which bridge a network is reached: it reads the kernel's routes only now and then."""
        self._run("ovs-appctl", "-t", str(self._control), "ovs/route/add", network, bridge)

    def _run(self, *command: str) -> str:
        # its daemons look for the sockets of bridges here
        return self._net.run(self._netns, "env", f"OVS_RUNDIR={self._folder}", *command)
