"""Where a webhook may go at all, so that nobody who names a URL reaches what only we can reach.

The URL is checked when it is taken, and before each try. The addresses of its name are checked once more where the
socket is made, from the answer that is connected to: the DNS is not asked a second time, when it could say another.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str | int | bytes, ...]]
"""As `getaddrinfo` returns it."""

URL_CHARACTERS_MAX: Final = 2_000
PORTS: Final = frozenset({443, 8443})
"""That receivers may listen at; the egress policy of the manifests has the same."""
UNACKNOWLEDGED_MS: Final = 30_000
"""After so long the kernel gives up a connection whose other side takes nothing, also one that we closed meanwhile."""
RECEIVE_BUFFER_BYTES: Final = 16 * 1024
"""What a receiver may send ahead of what is read. One that floods us takes turns with everybody else: a chunk of this
size is read in milliseconds, whatever is in it. A whole record of TLS still fits."""
LOOKUPS_AT_ONCE: Final = 32
"""A name whose servers are silent keeps a thread for half a minute; one thread, however often it is wanted."""

# The special-purpose registries of IANA, and what embeds an address of the other version, which would be a way around
# them. Written out, as what `ipaddress` counts as global differs between releases of Python.
_NOT_PUBLIC_4: Final = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnels
        "192.88.99.0/24",  # relays from IPv6, gone
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_UNICAST_6: Final = IPv6Network("2000::/3")
"""All that is assigned. So loopback, link-local, unique local, multicast, IPv4-mapped and NAT64 addresses are out."""
_NOT_PUBLIC_6: Final = tuple(
    ip_network(block)
    for block in (
        "2001::/23",  # protocol assignments, with Teredo and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: embeds an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_LINK_LOCAL: Final = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))

_PRINTABLE: Final = re.compile(r"[!-\[\]-~]+")
"""ASCII without spaces and without the backslash, which readers of URLs take for different things."""
_NAME: Final = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\.?"
)
"""With a dot, as every name of the internet, and a last label that begins with a letter: no number in disguise."""


class ReceiverRefused(OSError):
    """Nothing is sent there; the text says why, and names no address that was found."""


def is_public(address: Address) -> bool:
    """Whether it is of the internet, and of nothing that only we can reach."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _NOT_PUBLIC_4)
    is_assigned = address.scope_id is None and address in _GLOBAL_UNICAST_6
    return is_assigned and not any(address in block for block in _NOT_PUBLIC_6)


def is_not_link_local(address: Address) -> bool:
    """Whether it is anything but link-local, where the metadata of clouds is."""
    return not any(address in block for block in _LINK_LOCAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Says what may be reached. As it is made here it holds everywhere but in development."""

    https_only: bool = True
    named_only: bool = True
    """A host is a name of the internet or a public address; no `localhost`, and nothing that only our own DNS knows."""
    ports: frozenset[int] | None = PORTS
    """None for all."""
    permits: Callable[[Address], bool] = is_public

    def url(self, text: str) -> URL:
        """Return the URL as it will be connected to. Raises `ReceiverRefused`."""
        if len(text) > URL_CHARACTERS_MAX:
            raise ReceiverRefused(f"A URL has at most {URL_CHARACTERS_MAX} characters.")
        if not _PRINTABLE.fullmatch(text):
            raise ReceiverRefused(
                "A URL is ASCII without spaces; other characters are percent-encoded, names punycode."
            )
        try:
            url = URL(text)
        except ValueError:
            raise ReceiverRefused("This is no URL.") from None
        if why := self._wrong(url):
            raise ReceiverRefused(why)
        return url

    def _wrong(self, url: URL) -> str:
        """Return what is wrong with it; empty where nothing is."""
        if url.scheme not in ({"https"} if self.https_only else {"https", "http"}):
            return (
                "Receivers are called by https alone." if self.https_only else "Receivers are called by https or http."
            )
        if not url.raw_host:
            return "The URL names no host."
        if url.raw_user is not None or url.raw_password is not None:
            return "A URL has no user and no password: what is sent is signed."
        if url.raw_fragment:
            return "A fragment is never sent; leave it away."
        if self.ports is not None and url.port not in self.ports:
            return f"Receivers listen at port {' or '.join(map(str, sorted(self.ports)))}."
        return self._wrong_host(url.raw_host)

    def _wrong_host(self, host: str) -> str:
        try:
            address = ip_address(host)
        except ValueError:
            is_name = not self.named_only or _NAME.fullmatch(host.lower()) is not None
            return "" if is_name else "The host is no name of the internet."
        return "" if self.permits(address) else "The host is an address that may not be reached."

    def check(self, address: str) -> None:
        """Return if a numeric address may be reached. Raises `ReceiverRefused`."""
        try:
            is_permitted = self.permits(ip_address(address))
        except ValueError:
            is_permitted = False
        if not is_permitted:
            raise ReceiverRefused("The name has an address that may not be reached.")

    def socket(self, info: AddressInfo) -> socket.socket:
        """Make the socket that connects to an address: the last place to look at it, whoever found it."""
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        return made


DEVELOPMENT: Final = Guard(https_only=False, named_only=False, ports=None, permits=is_not_link_local)
"""Also the systems of a laptop and of a test; never what a cloud tells its machines."""


class GuardedResolver(AbstractResolver):
    """Asks for the addresses of a name, and refuses the name if one of them may not be reached."""

    def __init__(self, guard: Guard, names: AbstractResolver) -> None:
        self._guard = guard
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses that are connected to. Raises `ReceiverRefused`, and OSError where there are none."""
        found = await self._names.resolve(host, port, family)
        for one in found:
            self._guard.check(one["host"])
        return found

    async def close(self) -> None:
        """Close what is asked."""
        await self._names.close()


class SystemNames(AbstractResolver):
    """Asks the system, on threads of its own.

    On those that the process shares, names whose servers are silent would hold up whatever else waits for a thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError where there are none."""
        asking = partial(
            socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, asking)
        except UnicodeError as error:  # a label that is empty or too long
            raise OSError("This is no name.") from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Ask no more; a question that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
