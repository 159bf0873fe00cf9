"""A running hub against its own OpenAPI document: schemathesis asks what may be asked, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.hublab import Hub
from support.netlab import Net

from topology import openapi

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Sees one namespace, and whatever else the machine has."""
    made = Hub(tmp_path_factory.mktemp("hub"))
    net = Net()
    net.netns("a")
    made.start()
    yield made
    made.close()
    net.close()


@pytest.fixture(scope="module")
def document(hub: Hub) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{hub.port}/api/openapi.json")


def operations() -> Iterator[tuple[str, str, GenerationMode]]:
    """All, with what the document allows; those that take a body with what it does not, too."""
    for path, about in openapi.document()["paths"].items():
        for method in about.keys() - {"parameters"}:
            yield path, method, GenerationMode.POSITIVE
            if "requestBody" in about[method]:
                yield path, method, GenerationMode.NEGATIVE


@pytest.mark.parametrize(("path", "method", "mode"), sorted(operations()))
def test_every_answer_is_one_that_the_document_names(document: Any, path: str, method: str, mode: GenerationMode) -> None:
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    def ask(case: Any) -> None:
        # that a text is no query, or no time to live, is more than a schema can say
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    ask()
