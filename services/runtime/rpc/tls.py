"""Mutual TLS between the processes of the suite, where no mesh does it; certificates are replaced while we serve."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from services.runtime.process.followed import Stamp, stamp_of, watch_fitness
from services.runtime.process.settings import Reader, file

_logger = logging.getLogger(__name__)


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
            tls = cls(certificate=certificate, key=key, authority=authority)
            try:
                tls.load()
            except (OSError, ValueError) as error:
                read.refuse("BATZEN_TLS_CERTIFICATE", f"and the two files beside it {error}")
            return tls
        for name in (name for name in files if any(files.values()) and not read.is_set(name)):
            read.refuse(name, "is not set, and others of BATZEN_TLS_… are")
        return None

    def load(self) -> PemFiles:
        """Return what is in the files. Raises OSError, or ValueError if they do not go with each other."""
        stamp = self.stamp()
        files = PemFiles(
            certificate=self.certificate.read_bytes(), key=self.key.read_bytes(), authority=self.authority.read_bytes()
        )
        if not files.authority.strip():  # which ssl takes for "those of the system"
            raise ValueError("name no authority")
        try:
            context = ssl.create_default_context(cadata=files.authority.decode())
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise ValueError(f"cannot be used: {error.reason}") from error
        if self.stamp() != stamp:
            raise ValueError("are being replaced")
        return files

    def stamp(self) -> tuple[Stamp, ...]:
        """Return what changes when one of the files does. Raises OSError."""
        return tuple(stamp_of(path) for path in (self.certificate, self.key, self.authority))

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a certificate of the caller, and that follow the files."""
        following = FollowedTls(self)

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # Called for each new connection, in a thread of gRPC: three stats, and None while nothing changed.
            files = following.changed()
            return None if files is None else files.for_server()

        return grpc.dynamic_ssl_server_credentials(
            following.files.for_server(),
            changed,  # type: ignore[arg-type]  # None is what gRPC documents for "no change"
            require_client_authentication=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PemFiles:
    """What was in the files at one moment."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes

    def for_server(self) -> grpc.ServerCertificateConfiguration:
        """Return it as a server wants it."""
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.authority
        )

    def for_channel(self) -> grpc.ChannelCredentials:
        """Return it as a channel wants it, which cannot replace it."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority, private_key=self.key, certificate_chain=self.certificate
        )


class FollowedTls:
    """Tells once of each new content of the files; what cannot be used leaves what there was."""

    def __init__(self, paths: TlsFiles) -> None:
        """Read the files. Raises OSError or ValueError."""
        self._paths = paths
        self._stamp = paths.stamp()
        self._unfit: tuple[Stamp, ...] | None = None
        self._is_missing = False
        self.name = "BATZEN_TLS_CERTIFICATE"
        self.files = paths.load()
        watch_fitness(self)

    @property
    def is_unfit(self) -> bool:
        """Whether the files could not be used when they were last looked at."""
        return self._is_missing or self._unfit is not None

    def changed(self) -> PemFiles | None:
        """Return the files if they are others than those known until now, which they then are."""
        try:
            stamp = self._paths.stamp()
            self._is_missing = False
            if stamp == self._stamp:
                self._unfit = None  # they are the good ones again
                return None
            if stamp == self._unfit:
                return None
            files = self._paths.load()
        except OSError:  # in the middle of being replaced, or gone for good: then the figure stays
            self._is_missing = True
            return None
        except ValueError as error:
            self._unfit = stamp  # is not looked into again
            _logger.warning("BATZEN_TLS_… stay what they are, since the files %s", error)
            return None
        self._stamp, self._unfit, self.files = stamp, None, files
        _logger.info("BATZEN_TLS_… were read anew")
        return files
