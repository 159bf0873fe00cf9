"""What the tests with real traffic share: namespaces, agents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agentlab import Agent, StartAgent
from support.headers import headers_for_bcc
from support.needs import missing
from support.netlab import Net


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.kernel)


@pytest.fixture
def start_agent(net: Net, tmp_path: Path) -> Iterator[StartAgent]:
    """Start agents that capture, in every namespace, on the interfaces of this test."""
    made: list[Agent] = []

    def start(*options: str, interfaces: tuple[str, ...] | None = None, ready: bool = True, **settings: str) -> Agent:
        patterns = interfaces if interfaces is not None else (f"{net.prefix}*",)
        words = [word for pattern in patterns for word in ("--interfaces", pattern)]
        keys = {name.replace("__", "."): value for name, value in settings.items()}
        made.append(Agent(tmp_path / f"agent{len(made)}", [*options, *words], {"flow.netns": "all", **keys}))
        return made[-1].start(ready=ready)

    yield start
    for agent in made:
        agent.close()


@pytest.fixture(scope="session")
def bcc_headers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which bcc finds kernel headers."""
    try:
        return headers_for_bcc(tmp_path_factory.mktemp("headers"))
    except LookupError as error:
        missing(str(error))
