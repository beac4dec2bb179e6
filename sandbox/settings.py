"""Settings of the sandbox, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SETTLE_DELAY_S = 0.05  # Long enough that `charge.updated` comes visibly after the answer, short enough for a demo.
_RETRY_BACKOFF_S = 0.2  # First pause between deliveries of one event; doubles. Stripe waits hours, nobody here can.
_DELIVERY_ATTEMPTS_MAX = 5
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one sandbox runs. Every sandbox binds loopback only and takes test keys only."""

    host: str = "127.0.0.1"
    port: int = 7200
    webhook_url: str | None = None
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    webhook_events: tuple[str, ...] = ("*",)  # what the configured endpoint is subscribed to
    connect_webhook_url: str | None = None  # the same of an endpoint for the events of connected accounts
    connect_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    connect_webhook_events: tuple[str, ...] = ("*",)
    seed: int | None = None  # makes ids, faults and reordering repeatable; none: fresh ids on every start
    settle_delay_s: float = _SETTLE_DELAY_S
    retry_backoff_s: float = _RETRY_BACKOFF_S
    delivery_attempts_max: int = _DELIVERY_ATTEMPTS_MAX
    state_file: Path | None = None  # keeps everything over a restart; none: gone with the process
    check_answers: bool = False  # hold our answers and events to the schema (a breach is a 500), the file to the state

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raises ValueError naming the variable at fault."""
        host, _, port = environ.get("BATZEN_SANDBOX_LISTEN", "127.0.0.1:7200").rpartition(":")
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            raise ValueError("BATZEN_SANDBOX_LISTEN must name a loopback address: the sandbox checks no secrets.")
        url, secrets, events = _endpoint(environ, "BATZEN_SANDBOX_WEBHOOK")
        connect_url, connect_secrets, connect_events = _endpoint(environ, "BATZEN_SANDBOX_CONNECT_WEBHOOK")
        return cls(
            host=host.strip("[]"),
            port=_port(environ, "BATZEN_SANDBOX_LISTEN", port),
            webhook_url=url,
            webhook_secrets=secrets,
            webhook_events=events,
            connect_webhook_url=connect_url,
            connect_webhook_secrets=connect_secrets,
            connect_webhook_events=connect_events,
            seed=_number(environ, "BATZEN_SANDBOX_SEED", seed)
            if (seed := environ.get("BATZEN_SANDBOX_SEED"))
            else None,
            settle_delay_s=_number(environ, "BATZEN_SANDBOX_SETTLE_MS", environ.get("BATZEN_SANDBOX_SETTLE_MS", "50"))
            / 1000,
            delivery_attempts_max=_number(
                environ,
                "BATZEN_SANDBOX_DELIVERY_ATTEMPTS",
                environ.get("BATZEN_SANDBOX_DELIVERY_ATTEMPTS", str(_DELIVERY_ATTEMPTS_MAX)),
            ),
            state_file=Path(state) if (state := environ.get("BATZEN_SANDBOX_STATE")) else None,
            check_answers=environ.get("BATZEN_SANDBOX_CHECK_ANSWERS", "0") == "1",
        )


def _endpoint(environ: Mapping[str, str], name: str) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Return the address of a webhook endpoint, its secrets, and what it is subscribed to."""
    url, secrets = environ.get(f"{name}_URL") or None, _secret(environ, f"{name}_SECRET")
    if url and not secrets:
        raise ValueError(f"{name}_SECRET is needed beside {name}_URL.")
    return url, _listed(secrets), _listed(environ.get(f"{name}_EVENTS", "*"))


def _secret(environ: Mapping[str, str], name: str) -> str:
    """Return a secret, which may stand in a file instead."""
    file = environ.get(f"{name}_FILE", "")
    if not file:
        return environ.get(name, "")
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ValueError(f"{name}_FILE names a file that cannot be read.") from error


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _port(environ: Mapping[str, str], name: str, text: str) -> int:
    port = _number(environ, name, text)
    if not 0 < port <= _PORT_MAX:
        raise ValueError(f"{name} must end in a port from 1 to {_PORT_MAX}, not {port}.")
    return port


def _number(environ: Mapping[str, str], name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must hold a whole number, not {environ.get(name)!r}.") from None
