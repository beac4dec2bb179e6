"""Mutual TLS between the processes of the suite, where no mesh does it; certificates are replaced while we serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from services.runtime.process.settings import Reader, file


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of this process: its certificate, its key, and the authority that others must be certified by."""

    certificate: Path
    key: Path
    authority: Path

    @classmethod
    def read(cls, read: Reader) -> TlsFiles | None:
        """Return the files that are set; None if none of them is."""
        files = {
            "BATZEN_TLS_CERTIFICATE": read(
                "BATZEN_TLS_CERTIFICATE",
                file,
                default=None,
                doc="This process's certificate, PEM. All three files are followed; without them TLS is off.",
            ),
            "BATZEN_TLS_KEY": read("BATZEN_TLS_KEY", file, default=None, doc="The certificate's key, PEM."),
            "BATZEN_TLS_AUTHORITY": read(
                "BATZEN_TLS_AUTHORITY", file, default=None, doc="By whom the other side must be certified, PEM."
            ),
        }
        certificate, key, authority = files.values()
        if certificate and key and authority:
            return cls(certificate=certificate, key=key, authority=authority)
        for name in (name for name in files if any(files.values()) and not read.is_set(name)):
            read.refuse(name, "is not set, and others of BATZEN_TLS_… are")
        return None

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a certificate of the caller, and that follow the files."""
        stamp = self._stamp()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # Called for each new connection, in a thread of gRPC: three stats, and None while nothing changed.
            nonlocal stamp
            try:
                if (now := self._stamp()) == stamp:
                    return None
                configuration = self._server_configuration()
            except OSError:  # in the middle of being replaced: the next connection looks again
                return None
            stamp = now
            return configuration

        return grpc.dynamic_ssl_server_credentials(
            self._server_configuration(),
            changed,  # type: ignore[arg-type]  # None is what gRPC documents for "no change"
            require_client_authentication=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials for calling others, as the files are now; gRPC cannot replace them in a channel."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority.read_bytes(),
            private_key=self.key.read_bytes(),
            certificate_chain=self.certificate.read_bytes(),
        )

    def _server_configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.certificate.read_bytes())], root_certificates=self.authority.read_bytes()
        )

    def _stamp(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in (self.certificate, self.key, self.authority))
