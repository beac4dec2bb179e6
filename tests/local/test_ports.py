"""The fixed ports and the free ones."""

from __future__ import annotations

import socket

import pytest

from local import ports


def test_free_ports_differ_and_lie_below_the_ephemeral_range() -> None:
    chosen = ports.free_ports()

    assert set(ports.FIXED) == set(chosen)
    assert len(set(chosen.values())) == len(chosen)
    assert max(chosen.values()) < 32_768


def test_the_environment_and_then_options_change_the_fixed_ports() -> None:
    free = ports.free_ports()
    environ = {ports.variable(name): str(port) for name, port in free.items()}

    assert free == ports.fixed_ports(environ, {})
    assert ports.fixed_ports(environ, {"gateway": free["gateway"] + 0}) == free


def test_a_taken_port_is_named_with_what_to_do() -> None:
    free = ports.free_ports()
    with socket.create_server(("127.0.0.1", free["webhooks"])), pytest.raises(ports.PortError) as taken:
        ports.fixed_ports({}, free)

    assert f"Port {free['webhooks']} (webhooks) is taken" in str(taken.value)
    assert "BATZEN_WEBHOOKS_PORT" in str(taken.value)


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"BATZEN_GATEWAY_PORT": "many"}, {}),
        ({}, {"gateway": 0}),
        ({}, {"gateway": 70_000}),
        ({}, {"doorbell": 7001}),
        ({}, {"gateway": 7_900, "status": 7_900}),
    ],
)
def test_what_is_no_port_is_refused(environ: dict[str, str], chosen: dict[str, int]) -> None:
    with pytest.raises(ports.PortError):
        ports.fixed_ports(environ, ports.free_ports() | chosen)
