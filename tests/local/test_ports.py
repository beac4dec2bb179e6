"""The fixed ports and the free ones."""

from __future__ import annotations

import errno
import os
import re
import socket

import pytest

from local import ports
from local.commands import UP_EPILOG


def test_free_ports_differ_and_lie_below_the_ephemeral_range() -> None:
    chosen = ports.free_ports()

    assert set(ports.FIXED) == set(chosen)
    assert len(set(chosen.values())) == len(chosen)
    assert max(chosen.values()) < 32_768


def test_several_suites_of_a_process_share_no_port_and_one_too_many_is_refused() -> None:
    taken: set[int] = set()
    for suites in range(1, 7):
        taken |= set(ports.free_ports(besides=taken).values())
        assert len(taken) == suites * len(ports.FIXED)

    with pytest.raises(ports.PortError, match="too few"):
        ports.free_ports(besides=set(ports.FREE))


def test_two_who_start_suites_look_in_different_parts_until_there_is_none_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "CLAIMS", f"batzen-tests-{os.getpid()}")
    claims = [ports._claim() for _ in range(ports.PARTS + 1)]  # noqa: SLF001 what it chose is not to be seen elsewhere

    assert {claim.part for claim in claims[:-1]} == set(range(ports.PARTS))
    assert [claim.held is None for claim in claims] == [*[False] * ports.PARTS, True]
    for claim in claims[:-1]:
        assert claim.held is not None
        claim.held.close()


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
    assert re.search(r"BATZEN_PORT_BASE=\d+ make up", str(taken.value))


def test_all_ports_move_together() -> None:
    free = ports.free_ports()
    base = next(base for base in range(20_100, 32_000, 400) if _all_free(base))

    moved = ports.fixed_ports({}, {}, base)
    assert (moved["orchestrator"], moved["console-metrics"]) == (base + 1, base + 206)
    assert ports.fixed_ports({"BATZEN_PORT_BASE": str(base)}, {"gateway": free["gateway"]}) == moved | {
        "gateway": free["gateway"]
    }


def _all_free(base: int) -> bool:
    try:
        ports.fixed_ports({}, {}, base)
    except ports.PortError:
        return False
    return True


def test_a_port_of_the_system_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    free = ports.free_ports()
    monkeypatch.setattr("local.ports.socket.socket", Refusing)  # who runs tests may be root, who may have any port
    with pytest.raises(ports.PortError, match=r"\(orchestrator\) is for the system alone.*from 1024 on"):
        ports.fixed_ports({}, free)


def test_ports_that_cannot_be_used_for_another_reason_are_not_said_to_be_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    free = ports.free_ports()
    errors = {free["bff"]: errno.EACCES, free["console"]: errno.EACCES, free["gateway"]: errno.EADDRINUSE}
    monkeypatch.setattr(ports, "_error_of", errors.get)
    with pytest.raises(ports.PortError) as refused:
        ports.fixed_ports({}, {name: free[name] for name in ("bff", "console", *sorted(free))})

    assert "gateway" in str(refused.value).splitlines()[0]
    assert "console" not in str(refused.value)


def test_the_ports_that_help_proposes_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_error_of", lambda _port: None)
    examples = [line for line in UP_EPILOG.splitlines() if line.startswith("batzen up --port ")]

    assert examples
    for example in examples:
        chosen = dict(re.findall(r"--port ([\w-]+)=(\d+)", example))
        ports.fixed_ports({}, {name: int(port) for name, port in chosen.items()})


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"BATZEN_GATEWAY_PORT": "many"}, {}),
        ({}, {"gateway": 0}),
        ({}, {"gateway": 70_000}),
        ({}, {"doorbell": 7001}),
        ({}, {"gateway": 7_900, "status": 7_900}),
        ({"BATZEN_PORT_BASE": "low"}, {}),
        ({"BATZEN_PORT_BASE": "65400"}, {}),
    ],
)
def test_what_is_no_port_is_refused(environ: dict[str, str], chosen: dict[str, int]) -> None:
    with pytest.raises(ports.PortError):
        ports.fixed_ports(environ, ports.free_ports() | chosen)
