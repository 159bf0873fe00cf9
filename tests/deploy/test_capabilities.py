"""An agent with exactly the capabilities that it is granted: all works, and it keeps what the table says, in each thread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.agentlab import Agent
from support.needs import tool
from support.netlab import Net, until
from support.ports import free_port

from skytrail.kernel.capabilities import effective
from skytrail.privileges import NEEDS, needed

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(240)]

IDENTIFIER = 0x5CA9
LACKING = ("drops_not_counted", "sockets_not_read", "namespaces_found_late", "namespace_not_followed", "conntrack_failed")
"""What the log says of a part that was refused something."""


class Confined(Agent):
    """One that may get no capability but some."""

    def __init__(self, folder: Path, capabilities: set[str], options: list[str]) -> None:
        super().__init__(folder, options)
        bounds = ",".join(["-all", *(f"+{name}" for name in sorted(capabilities))])
        self._enter = [tool("setpriv", "util-linux"), "--bounding-set", bounds, "--no-new-privs"]

    def threads(self) -> set[frozenset[str]]:
        """What capabilities its threads have."""
        return {effective(task / "status") for task in Path(f"/proc/{self.process.pid}/task").iterdir()}


def pinged(agent: Agent) -> int:
    """At how many capture points our ping was seen."""
    return sum(flow["ICMP"]["ID"] == IDENTIFIER for flow in agent.flows("icmp"))


@pytest.fixture
def listening(net: Net) -> int:
    """The port at which another user's program listens."""
    port = free_port()
    user = [tool("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    net.spawn("", *user, tool("nc", "netcat-openbsd"), "-l", "127.0.0.1", str(port))
    return port


def test_the_docs_have_the_table() -> None:
    page = Path(__file__).parents[2].joinpath("docs/deployment.md").read_text()
    rows = [f"| `CAP_{need.name.upper()}` | {need.until.value} | {need.use} | {need.without} |" for need in NEEDS]
    assert "\n".join(rows) in page


@pytest.mark.parametrize("others", [False, True])
def test_with_these_all_works_and_no_thread_keeps_more(net: Net, tmp_path: Path, listening: int, *, others: bool) -> None:
    left, right = net.pair()
    where = ["--netns", "all", "--interfaces", f"{net.prefix}*"] if others else ["--interfaces", "lo"]
    agent = Confined(tmp_path / "agent", {need.name for need in NEEDS}, where)
    try:
        agent.start(ready=False)
        until(agent._is_ready, 90)
        net.ping(left.netns if others else "", right.ip4 if others else "127.0.0.1", identifier=IDENTIFIER)
        until(lambda: pinged(agent) == (2 if others else 1), 20)
        sockets = json.loads(agent.get("/api/v1/sockets"))
        assert [one["Process"] for one in sockets if one["LocalPort"] == listening and one["Process"].endswith("nc.openbsd")]
        assert agent.threads() == {needed(others=others)}
        assert [word for word in LACKING if word in agent.log()] == []
    finally:
        agent.close()
