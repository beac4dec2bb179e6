"""Certificates are replaced on both sides while calls go on: none fails, and the new ones are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from batzen._channel import make_channel
from batzen.client import Addresses, Client
from local.issuer import Issuer
from services.runtime.rpc import call_context
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from services.runtime.rpc.tls import FollowedTls, TlsFiles
from services.runtime.rpc.tls_channel import DRAIN_S, RECHECK_S, TlsChannel
from services.web.peers import following
from tests.eventually import WITHIN_S, eventually
from tests.mounts import Mount
from tests.runtime.echo import SERVICE, Echo, bearer, refusal, serving, unary
from tests.runtime.test_tls import Authority

HELLO = StringValue(value="hello")
FILES = ("tls.crt", "tls.key", "ca.crt")


class Certificates:
    """Certificates as they are mounted into a process."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._scratch = folder / "scratch"
        folder.mkdir()
        self.mount = Mount(folder / "tls", self.made(authority))
        certificate, key, ca = (self.mount.path(name) for name in FILES)
        self.files = TlsFiles(certificate=certificate, key=key, authority=ca)

    def made(self, authority: Authority, *, trusted: bytes | None = None) -> dict[str, str | bytes]:
        authority.certify(self._scratch)
        made: dict[str, str | bytes] = {name: (self._scratch / name).read_bytes() for name in FILES}
        return made if trusted is None else {**made, "ca.crt": trusted}

    def bundle(self, *authorities: Authority) -> bytes:
        return b"".join(bytes(self.made(authority)["ca.crt"]) for authority in authorities)  # type: ignore[arg-type]

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.files.certificate.read_bytes()).serial_number


class Caller:
    """A peer that calls without an end."""

    def __init__(self, call: Any) -> None:
        self.failed: list[Exception] = []
        self.serials: list[int] = []
        self._call = call

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Caller]:
        async def call_for_ever() -> None:
            while True:
                try:
                    self.serials.append(int((await self._call(HELLO)).value))
                except aio.AioRpcError as error:
                    self.failed.append(error)

        with call_context.acting_for("main", correlation=None):
            task = asyncio.create_task(call_for_ever())
        yield self
        task.cancel()
        await asyncio.wait({task})

    async def sees(self, serial: int) -> None:
        """Wait until calls go by the certificate, and none goes by another any more."""
        await eventually(lambda: self.failed or (self.serials and self.serials[-1] == serial))
        del self.serials[:]
        await eventually(lambda: self.failed or len(self.serials) > 5)
        assert self.failed == []
        assert set(self.serials) == {serial}


async def who(_: StringValue, context: Any) -> StringValue:
    """Answer with the serial number of the caller's certificate."""
    pem = context.auth_context()["x509_pem_cert"][0]
    return StringValue(value=str(x509.load_pem_x509_certificate(pem).serial_number))


def stub(channel: aio.Channel) -> Any:
    return channel.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)


@pytest.fixture
def tokens(issuer: Issuer, tmp_path: Path) -> TokenDirectory:
    issuer.write_service_tokens(tmp_path, services=["orchestrator"], tenants=["main"])
    return TokenDirectory(tmp_path / "orchestrator")


async def test_no_call_fails_while_both_sides_get_new_certificates_by_a_new_authority(
    issuer: Issuer, tokens: TokenDirectory, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    server, client = Certificates(tmp_path / "server", old), Certificates(tmp_path / "client", old)
    async with (
        serving(issuer, {"Echo": unary(who)}, tls=server.files) as service,
        peer_channel(service.address, tokens=tokens, tls=client.files) as channel,
        Caller(stub(channel)).running() as caller,
    ):
        await caller.sees(client.serial)
        both = server.bundle(old, new)

        server.mount.replace(server.made(old, trusted=both))  # first both sides trust both
        client.mount.replace(client.made(old, trusted=both))
        await caller.sees(client.serial)
        server.mount.replace(server.made(new, trusted=both))  # then each is certified by the new one
        client.mount.replace(client.made(new, trusted=both))
        await caller.sees(client.serial)
        server.mount.replace(server.made(new))  # and the old one is trusted no more
        client.mount.replace(client.made(new))
        await caller.sees(client.serial)

        stranger = Certificates(tmp_path / "stranger", old)
        async with peer_channel(service.address, tokens=tokens, tls=stranger.files) as refused:
            with call_context.acting_for("main", correlation=None):
                await refusal(stub(refused)(HELLO, timeout=0.5))


async def test_files_that_do_not_go_with_each_other_leave_the_certificate_there_was(
    issuer: Issuer, tokens: TokenDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    server, client = Certificates(tmp_path / "server", authority), Certificates(tmp_path / "client", authority)
    async with (
        serving(issuer, {"Echo": unary(who)}, tls=server.files) as service,
        peer_channel(service.address, tokens=tokens, tls=client.files) as channel,
        Caller(stub(channel)).running() as caller,
    ):
        before = client.serial
        await caller.sees(before)
        good = client.made(authority)
        unfit = (
            {},
            {**good, "tls.key": client.made(authority)["tls.key"]},  # of another certificate
            {**good, "tls.crt": ""},
            {**good, "ca.crt": ""},
            {**good, "tls.crt": "no certificate"},
        )
        for count, files in enumerate(unfit):
            client.mount.replace(files)
            server.mount.replace(files)
            said = "BATZEN_TLS_… stay what they are"
            if files:
                await eventually(lambda count=count, said=said: caplog.text.count(said) >= count)  # type: ignore[misc]
            await caller.sees(before)
        client.mount.replace(good)
        server.mount.replace(good)
        await caller.sees(client.serial)


@pytest.mark.parametrize("files", [{}, dict.fromkeys(FILES, "no certificate")])
def test_files_that_are_gone_or_wrong_are_unfit_until_the_good_ones_are_there_again(
    files: dict[str, str], tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "process", Authority())
    followed = FollowedTls(certificates.files)
    certificates.mount.replace(files)
    assert followed.changed() is None
    assert followed.is_unfit

    certificates.mount.put_back()

    assert followed.changed() is None
    assert not followed.is_unfit


async def test_a_call_under_way_ends_on_the_old_channel_which_is_closed_later(issuer: Issuer, tmp_path: Path) -> None:
    authority = Authority()
    files = Certificates(tmp_path / "both", authority)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: StringValue, context: Any) -> StringValue:
        if request.value == "slow":
            begun.set()
            await go_on.wait()
        return await who(request, context)

    now = 0.0
    async with serving(issuer, {"Echo": unary(slow)}, tls=files.files) as service:
        channel = TlsChannel(files.files, _made(service), clock=lambda: now, drain_s=0.0)
        kept = TlsChannel(files.files, _made(service), clock=lambda: now, drain_s=DRAIN_S)
        async with channel, kept:
            before = files.serial
            under_way = asyncio.ensure_future(stub(kept)(StringValue(value="slow")))
            await begun.wait()
            closed = asyncio.ensure_future(stub(channel)(StringValue(value="slow")))
            files.mount.replace(files.made(authority))
            now += RECHECK_S
            for one in (kept, channel):
                assert (await stub(one)(HELLO)).value == str(files.serial)
            await refusal_or_cancelled(closed)  # its old channel was kept for no time
            go_on.set()
            assert (await under_way).value == str(before)


async def refusal_or_cancelled(call: asyncio.Future[Any]) -> None:
    await asyncio.wait({call})
    assert call.cancelled() or call.exception() is not None


def _made(service: Echo) -> Any:
    token = service.issuer.mint("payer_1", roles={"payer"})

    def make(*, credentials: Any) -> aio.Channel:
        return make_channel(
            service.address, timeout_s=WITHIN_S, metadata=lambda: bearer(token), credentials=credentials
        )

    return make


async def test_the_clients_of_a_front_follow_its_certificate(issuer: Issuer, tmp_path: Path) -> None:
    authority = Authority()
    server, front = Certificates(tmp_path / "server", authority), Certificates(tmp_path / "front", authority)
    opened: list[aio.Channel] = []
    open_channel = following(front.files)
    assert open_channel is not None

    def noted(make: Callable[..., aio.Channel]) -> aio.Channel:
        opened.append(open_channel(make))
        return opened[-1]

    async with serving(issuer, {"Echo": unary(who)}, tls=server.files) as service:
        everywhere = Addresses(**dict.fromkeys(("orchestrator", "pricing", "status", "gateway"), service.address))
        token = service.issuer.mint("payer_1", roles={"payer"})
        async with (
            Client(token=token, addresses=everywhere, open_channel=noted),
            Caller(stub(opened[0])).running() as caller,
        ):
            await caller.sees(front.serial)
            front.mount.replace(front.made(authority))
            await caller.sees(front.serial)

    assert len(opened) == 4
    assert following(None) is None
