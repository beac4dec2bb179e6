"""The issuer's public keys (JWKS), from a file or an http(s) address, replaced while we run.

A file is looked at every `FILE_RECHECK_S` and whenever a token names an unknown key. An address is read again every
`ADDRESS_LIFESPAN_S` beside the calls, and at once for an unknown key, but then at most every `ADDRESS_COOLDOWN_S`, so
that invented key ids cannot make us hammer the issuer. When a read fails the keys we have stay good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from services.errors import DependencyUnavailable
from services.runtime.work.loops import detached

ALGORITHMS: Final = frozenset({"ES256", "RS256", "EdDSA"})
"""Signatures with a key pair only."""
FILE_RECHECK_S: Final = 5.0
"""How long a key withdrawn from the file still opens the door."""
ADDRESS_LIFESPAN_S: Final = 300.0
ADDRESS_COOLDOWN_S: Final = 30.0
ADDRESS_FIRST_COOLDOWN_S: Final = 1.0
"""As long as there is no key at all: the issuer may just be starting, too."""
ADDRESS_TIMEOUT_S: Final = 2.0
KEYS_MAX: Final = 32
"""More keys than any rotation needs."""
FILE_BYTES_MAX: Final = 256 * 1024

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key and the one algorithm it is used with."""

    key: Any
    algorithm: str


class KeySet:
    """Keys by their id. `generation` grows whenever the set changes."""

    def __init__(self, source: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read from `source`, a path or an http(s) address, at the first use; `clock` counts seconds."""
        self._source = source
        self._clock = clock
        self._is_address = source.startswith(("http://", "https://"))
        self._keys: dict[str, Key] = {}
        self._read_at: float | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._reading: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def source(self) -> str:
        """Where they are read from."""
        return self._source

    async def refresh(self) -> None:
        """Notice that the keys have changed; costs next to nothing when it is not time yet."""
        lifespan_s = ADDRESS_LIFESPAN_S if self._is_address else FILE_RECHECK_S
        if self._read_at is not None and self._clock() - self._read_at < lifespan_s:
            return
        if self._is_address:
            reading = self._read_address_once()
            if not self._keys:
                await asyncio.shield(reading)
        else:
            self._read_file()

    async def find(self, key_id: str) -> Key | None:
        """Return the key, looking for it anew if it is not known; None if there is none.

        Raises DependencyUnavailable while no key at all could be read.
        """
        if key_id not in self._keys:
            if not self._is_address:
                self._read_file()
            elif self._reading is not None or self._has_cooled_down():
                await asyncio.shield(self._read_address_once())
        if not self._keys:
            raise DependencyUnavailable(dependency="keys")
        return self._keys.get(key_id)

    def _has_cooled_down(self) -> bool:
        cooldown_s = ADDRESS_COOLDOWN_S if self._keys else ADDRESS_FIRST_COOLDOWN_S
        return self._read_at is None or self._clock() - self._read_at >= cooldown_s

    def _read_file(self) -> None:
        self._read_at = self._clock()
        path = Path(self._source)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            if stat.st_size > FILE_BYTES_MAX:
                raise ValueError(f"{stat.st_size} bytes are too many for a set of keys")
            self._take(jwt.PyJWKSet.from_json(path.read_bytes().decode()), stamp=stamp)
        except (OSError, ValueError, AttributeError, jwt.PyJWTError) as error:
            _logger.warning("The keys in %s cannot be read, those known stay good: %s", self._source, error)

    def _read_address_once(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._reading = detached(self._read_address(), name="key_reading")
            self._reading.add_done_callback(self._forget_reading)
        return self._reading

    def _forget_reading(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read_address(self) -> None:
        self._read_at = self._clock()
        client = jwt.PyJWKClient(self._source, cache_jwk_set=False, timeout=ADDRESS_TIMEOUT_S)
        try:
            self._take(await asyncio.to_thread(client.get_jwk_set), stamp=None)
        except (OSError, ValueError, AttributeError, jwt.PyJWTError) as error:
            _logger.warning("The keys at %s cannot be read, those known stay good: %s", self._source, error)

    def _take(self, key_set: jwt.PyJWKSet, *, stamp: tuple[int, int, int] | None) -> None:
        """Replace the keys; leave out those for encryption, without an id or of another algorithm."""
        keys = {
            key.key_id: Key(key=key.key, algorithm=key.algorithm_name)
            for key in key_set.keys[:KEYS_MAX]
            if isinstance(key.key_id, str) and key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig")
        }
        if not keys:
            raise ValueError("not one usable key in it")
        self._stamp = stamp
        if keys != self._keys:
            self._keys = keys
            self.generation += 1
