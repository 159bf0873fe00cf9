from __future__ import annotations

import msgspec
import pytest

from skytrail.settings.tree import Otlp, OtlpSignal, Settings


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(AttributeError):
        settings.flow.drain = 2.0  # type: ignore[misc]


def test_defaults_are_those_of_the_design() -> None:
    settings = Settings()
    assert settings.agent.listen == "127.0.0.1:8081"
    assert (settings.flow.drain, settings.flow.update) == (1, 60)
    assert settings.flow.tunnel_ports.vxlan == (4789, 8472)
    assert settings.otlp.trace_epoch is None


def test_no_endpoint_means_no_export() -> None:
    assert not Otlp().exports("traces")


def test_a_signals_own_endpoint_switches_on_that_signal_only() -> None:
    otlp = Otlp(spans_to=OtlpSignal(endpoint="http://t:1/in"))
    assert otlp.exports("traces")
    assert not otlp.exports("metrics")


@pytest.mark.parametrize("off", [{"disabled": True}, {"spans": False}])
def test_traces_can_be_switched_off_beside_an_endpoint(off: dict[str, bool]) -> None:
    assert not msgspec.structs.replace(Otlp(endpoint="c:1"), **off).exports("traces")
