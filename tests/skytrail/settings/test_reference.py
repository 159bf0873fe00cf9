from __future__ import annotations

from pathlib import Path

from skytrail.settings.leaves import LEAVES
from skytrail.settings.load import load
from skytrail.settings.reference import render_reference, render_yaml
from skytrail.settings.tree import Settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def test_document_is_what_the_tree_says() -> None:
    assert DOCUMENT.read_text() == render_reference(), "run: skytrail config --reference > docs/settings.md"


def test_reference_has_one_row_for_each_key() -> None:
    rows = [line.split("|")[1].strip(" `") for line in render_reference().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(LEAVES)


def test_effective_settings_load_again_to_the_same(tmp_path: Path) -> None:
    settings = load(
        None,
        {},
        {
            "flow.interfaces": "eth*,!veth*",
            "flow.drain": "250ms",
            "flow.application_ports.tcp": "80=WEB",
            "subnets": "10.0.0.0/8=ten",
            "otlp.trace_epoch": "1h",
            "otlp.queue_max": "1MiB",
        },
    )
    path = tmp_path / "again.yaml"
    path.write_text(render_yaml(settings))
    assert load(path, {}, {}) == settings
    assert settings != Settings()


def test_secrets_are_masked_in_the_effective_settings() -> None:
    settings = load(None, {"SKYTRAIL_OTLP_HEADERS": "authorization=hunter2"}, {"otlp.spans_to.headers": "x=hunter3"})
    text = render_yaml(settings)
    assert "hunter" not in text
    assert "authorization: '***'" in text


def test_a_password_is_masked_also_in_an_address() -> None:
    flags = {"topology.janusgraph.password": "hunter2", "topology.janusgraph.url": "ws://me:hunter3@graph:8182/gremlin"}
    text = render_yaml(load(None, {}, flags))
    assert "hunter" not in text
    assert "password: '***'" in text
    assert "url: ws://me:***@graph:8182/gremlin" in text
