"""Mutual TLS: only who the authority certified may call, and certificates are replaced while we serve."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.wrappers_pb2 import StringValue

from batzen._channel import make_channel
from batzen.cli.connection import NotConnected, find
from local.issuer import Issuer
from services.runtime.process.settings import SettingsError, settings_from
from services.runtime.rpc.tls import TlsFiles
from tests.eventually import WITHIN_S
from tests.runtime.echo import SERVICE, bearer, echo, refusal, serving, unary

HELLO = StringValue(value="hello")


class Authority:
    """Certifies whoever asks."""

    def __init__(self, name: str = "authority") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self.name, self.key.public_key(), is_authority=True)

    def certify(self, folder: Path) -> TlsFiles:
        """Write a new certificate, its key, and ours."""
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "process")])
        files = TlsFiles(certificate=folder / "tls.crt", key=folder / "tls.key", authority=folder / "ca.crt")
        encoding = serialization.Encoding.PEM
        files.certificate.write_bytes(
            self._signed(subject, key.public_key(), is_authority=False).public_bytes(encoding)
        )
        files.key.write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        files.authority.write_bytes(self.certificate.public_bytes(encoding))
        return files

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


@asynccontextmanager
async def calling(issuer: Issuer, address: str, credentials: grpc.ChannelCredentials) -> AsyncIterator[Any]:
    token = issuer.mint("payer_1", roles={"payer"})
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", "{}"))
    async with make_channel(
        address, timeout_s=WITHIN_S, metadata=lambda: bearer(token), credentials=credentials, options=options
    ) as channel:
        yield channel.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)


def serial_of(port: int, files: TlsFiles) -> int:
    """Return the serial number of the certificate a new connection is shown."""
    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        shown = wire.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


async def test_only_who_is_certified_by_the_authority_may_call(issuer: Issuer, tmp_path: Path) -> None:
    authority = Authority()
    server_files, client_files = authority.certify(tmp_path / "server"), authority.certify(tmp_path / "client")
    stranger_files = Authority().certify(tmp_path / "stranger")
    stranger = grpc.ssl_channel_credentials(
        root_certificates=server_files.authority.read_bytes(),
        private_key=stranger_files.key.read_bytes(),
        certificate_chain=stranger_files.certificate.read_bytes(),
    )
    nobody = grpc.ssl_channel_credentials(root_certificates=server_files.authority.read_bytes())
    async with serving(issuer, {"Echo": unary(echo)}, tls=server_files) as service:
        async with calling(issuer, service.address, client_files.load().for_channel()) as call:
            assert await call(HELLO) == HELLO
        for credentials in (stranger, nobody):
            async with calling(issuer, service.address, credentials) as call:
                assert (await refusal(call(HELLO))).code() is grpc.StatusCode.UNAVAILABLE
        assert (await refusal(service.unary()(HELLO, timeout=0.5))).code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )


async def test_the_command_line_has_the_same_settings(issuer: Issuer, tmp_path: Path) -> None:
    files = Authority().certify(tmp_path)
    environ = {
        "BATZEN_TLS_CERTIFICATE": str(files.certificate),
        "BATZEN_TLS_KEY": str(files.key),
        "BATZEN_TLS_AUTHORITY": str(files.authority),
    }
    credentials = find(environ=environ, start=tmp_path).credentials
    assert credentials is not None
    async with (
        serving(issuer, {"Echo": unary(echo)}, tls=files) as service,
        calling(issuer, service.address, credentials) as call,
    ):
        assert await call(HELLO) == HELLO
    assert find(environ={}, start=tmp_path).credentials is None
    with pytest.raises(NotConnected, match="BATZEN_TLS_KEY"):
        find(environ=environ | {"BATZEN_TLS_KEY": ""}, start=tmp_path)
    with pytest.raises(NotConnected, match="cannot be read"):
        find(environ=environ | {"BATZEN_TLS_KEY": str(tmp_path / "nowhere")}, start=tmp_path)


async def test_a_replaced_certificate_is_shown_to_the_next_connection(issuer: Issuer, tmp_path: Path) -> None:
    authority = Authority()
    files, client_files = authority.certify(tmp_path / "server"), authority.certify(tmp_path / "client")
    async with serving(issuer, {"Echo": unary(echo)}, tls=files) as service:
        first = await asyncio.to_thread(serial_of, service.server.port, client_files)
        again = await asyncio.to_thread(serial_of, service.server.port, client_files)
        authority.certify(tmp_path / "server")
        os.utime(files.certificate, ns=(1, 1))
        second = await asyncio.to_thread(serial_of, service.server.port, client_files)

    assert first == again
    assert second != first


def test_settings_name_all_three_files_or_none(tmp_path: Path) -> None:
    files = Authority().certify(tmp_path)
    environ = {
        "BATZEN_TLS_CERTIFICATE": str(files.certificate),
        "BATZEN_TLS_KEY": str(files.key),
        "BATZEN_TLS_AUTHORITY": str(files.authority),
    }

    assert settings_from(environ, TlsFiles.read) == files
    assert settings_from({}, TlsFiles.read) is None
    with pytest.raises(SettingsError, match="BATZEN_TLS_KEY is not set"):
        settings_from(environ | {"BATZEN_TLS_KEY": ""}, TlsFiles.read)
