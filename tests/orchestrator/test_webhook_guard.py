"""Which receivers may be reached: the internet, and nothing that only we can reach, however it is written."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.webhooks_out.guard import (
    DEVELOPMENT,
    Guard,
    GuardedResolver,
    ReceiverRefused,
    SystemNames,
    is_public,
)

PUBLIC = Guard()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.shop.example/batzen",
        "https://hooks.shop.example:8443/batzen?tenant=1",
        "https://xn--bcher-kva.example/%C3%BC",
        "https://93.184.215.14/hook",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/hook",
    ],
)
def test_receivers_of_the_internet(url: str) -> None:
    assert PUBLIC.url(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.shop.example",
        "//hooks.shop.example/",
        "https://",
        "https:///path",
        "http://hooks.shop.example/",
        "ftp://hooks.shop.example/",
        "file:///etc/passwd",
        "unix:///run/postgres.sock",
        "gopher://hooks.shop.example/",
        "https://user@hooks.shop.example/",
        "https://user:secret@hooks.shop.example/",
        "https://127.0.0.1%2f@hooks.shop.example/",
        "https://hooks.shop.example/#part",
        "https://hooks.shop.example:22/",
        "https://hooks.shop.example:5432/",
        "https://hooks.shop.example:0/",
        "https://hooks.shop.example:99999/",
        "https://hooks.shop.example\\@169.254.169.254/",
        "https://hooks.shop example/",
        "https://hooks.shop.example/\r\nx-injected: 1",
        " https://hooks.shop.example/",
        "https://hööks.example/",
        "https://①②⑦.⓪.⓪.①/",
        "https://localhost/",
        "https://gateway/",
        "https://metadata/",
        "https://hooks..example/",
        "https://-/",
        f"https://{'a' * 64}.example/",
        f"https://hooks.shop.example/{'a' * 2_000}",
        # numbers in disguise
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://example.0x7f/",
    ],
)
def test_what_is_no_receiver_of_the_internet(url: str) -> None:
    with pytest.raises(ReceiverRefused):
        PUBLIC.url(url)


NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 an address that is refused
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "2606:4700::1111%eth0",
    "ff02::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_never_reached_by_number_or_by_name(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(ReceiverRefused):
        PUBLIC.check(address)
    written = f"[{address.replace('%', '%25')}]" if ":" in address else address
    with pytest.raises(ReceiverRefused):
        PUBLIC.url(f"https://{written}/")


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "2606:4700::1111"]
)
def test_their_neighbours_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_what_python_counts_as_private_is_not_public(address: IPv4Address) -> None:
    assert not (is_public(address) and (address.is_private or address.is_multicast or not address.is_global))


@given(st.ip_addresses(v=6))
def test_of_the_newer_addresses_too(address: IPv6Address) -> None:
    assert not (is_public(address) and (address.is_private or address.is_multicast or not address.is_global))


def test_a_socket_is_made_for_a_permitted_address_alone() -> None:
    """Whoever found the address, and whatever was checked before."""
    with pytest.raises(ReceiverRefused):
        PUBLIC.socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 443)))
    PUBLIC.socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 443))).close()


class Names(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None: ...


async def test_a_name_with_one_address_that_may_not_be_reached_is_refused_as_a_whole() -> None:
    assert len(await GuardedResolver(PUBLIC, Names("1.1.1.1", "8.8.8.8")).resolve("both.example")) == 2
    with pytest.raises(ReceiverRefused) as refused:
        await GuardedResolver(PUBLIC, Names("1.1.1.1", "10.0.0.7")).resolve("one.example")
    assert "10.0.0.7" not in str(refused.value)


async def test_the_system_is_asked_for_names() -> None:
    names = SystemNames()
    try:
        found = await names.resolve("localhost", 443)
        with pytest.raises(OSError):
            await names.resolve("a" * 70 + ".invalid", 443)
        with pytest.raises(OSError):
            await names.resolve("nowhere.invalid", 443)
    finally:
        await names.close()

    assert {one["host"] for one in found} <= {"127.0.0.1", "::1"}
    assert {one["port"] for one in found} == {443}


def test_development_reaches_itself_and_never_what_a_cloud_tells_its_machines() -> None:
    assert DEVELOPMENT.url("http://localhost:8080/hook").port == 8080
    DEVELOPMENT.check("127.0.0.1")
    for address in ("169.254.169.254", "fe80::1"):
        with pytest.raises(ReceiverRefused):
            DEVELOPMENT.check(address)
