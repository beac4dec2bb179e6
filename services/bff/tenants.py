"""How each tenant shows itself to its payers: name, logo, where terms, privacy and help are, where payers came from.

One TOML file, a table a tenant:

    [main]
    name = "Alpine Lessons"
    home = "https://www.example.com/bookings"
    return_origins = ["https://www.example.com"]
    terms = "https://www.example.com/terms"
    logo = "logo.svg"                     # beside this file
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

TEXTS: Final = frozenset({"name", "terms", "privacy", "support", "home", "publishable_key", "time_zone"})
FLAGS: Final = frozenset({"offers_form", "tells_by_mail"})
LISTS: Final = frozenset({"return_origins"})
TIME_ZONE: Final = "Europe/Zurich"
MOVED: Final = {
    "address": "put-policy --address",
    "vat_id": "put-policy --vat-id",
}
"""What this file said once, and what an operator says it with now."""
LOGO_TYPES: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}
LOGO_BYTES_MAX: Final = 16 * 1024
"""It is on every page, which is to be there in a second on a phone."""


class TenantsUnreadable(ValueError):
    """The file of tenants says something that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logo:
    """A picture beside the name."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """What its address changes with."""
        return sha256(self.content).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant as its payers see it."""

    name: str
    terms: str = ""
    privacy: str = ""
    support: str = ""
    """An address of a page, or `mailto:`."""
    home: str = ""
    """Where payers came from, log in, and go back to."""
    return_origins: tuple[str, ...] = ()
    """Where else payers may come from, and be sent back to by what is asked over REST."""
    publishable_key: str = ""
    """Stripe's, for a form in our page."""
    offers_form: bool = False
    """Whether a new card may be entered in our page; else on the page that Stripe hosts."""
    tells_by_mail: bool = False
    """Whether payers get mails, so that a page may promise one."""
    time_zone: str = TIME_ZONE
    logo: Logo | None = field(default=None, repr=False)

    @property
    def origins(self) -> frozenset[str]:
        """The tenant's own, as it names them."""
        return frozenset({origin_of(one) for one in (self.home, *self.return_origins)} - {""})

    def takes_back(self, address: str, *, own_origin: str, is_service: bool) -> bool:
        """Tell whether a payer may be sent back to an address: to the tenant, or to this front.

        A service of a tenant that names none may send its payers where it likes; a payer may not.
        """
        known = self.origins
        return origin_of(address) in known | {origin_of(own_origin)} or (is_service and not known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """All tenants."""

    by_id: Mapping[str, Tenant] = field(default_factory=dict)

    def of(self, tenant_id: str) -> Tenant:
        """Return a tenant; one that the file does not name has a name and nothing else."""
        return self.by_id.get(tenant_id) or Tenant(name=tenant_id.replace("_", " ").replace("-", " ").title())


def origin_of(address: str) -> str:
    """Return the origin of an address; empty for one that has none."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else ""


def read_tenants(path: str) -> Tenants:
    """Read the file. Raises `TenantsUnreadable` with the place of what is wrong."""
    file = Path(path)
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TenantsUnreadable(f"cannot be read as TOML: {error}") from error
    return Tenants(by_id={tenant_id: _tenant(tenant_id, table, file.parent) for tenant_id, table in tables.items()})


def _tenant(tenant_id: str, table: object, folder: Path) -> Tenant:
    if not isinstance(table, dict):
        raise TenantsUnreadable(f"{tenant_id} is no table")
    said = cast("dict[str, object]", table)
    for name, value in said.items():
        _check(f"{tenant_id}.{name}", name, value)
    if not said.get("name"):
        raise TenantsUnreadable(f"{tenant_id} has no name")
    logo = said.get("logo")
    texts = {name: str(said.get(name, "")) for name in TEXTS}
    lists = {name: tuple(cast("list[str]", said.get(name, []))) for name in LISTS}
    return Tenant(
        name=texts["name"],
        terms=texts["terms"],
        privacy=texts["privacy"],
        support=texts["support"],
        home=texts["home"],
        return_origins=lists["return_origins"],
        publishable_key=texts["publishable_key"],
        offers_form=said.get("offers_form") is True,
        tells_by_mail=said.get("tells_by_mail") is True,
        time_zone=texts["time_zone"] or TIME_ZONE,
        logo=_logo(f"{tenant_id}.logo", folder / str(logo)) if logo else None,
    )


def _check(place: str, name: str, value: object) -> None:
    if name in FLAGS:
        is_good = isinstance(value, bool)
    elif name in LISTS:
        is_good = isinstance(value, list) and all(isinstance(one, str) for one in value)
    elif name in TEXTS or name == "logo":
        is_good = isinstance(value, str)
    elif name in MOVED:
        raise TenantsUnreadable(
            f"{place} stands in the notification policy now: say it with `batzen notifications {MOVED[name]}`,"
            " and leave it out here"
        )
    else:
        raise TenantsUnreadable(f"{place} is not known")
    if not is_good:
        raise TenantsUnreadable(f"{place} has another type")
    if name == "return_origins" and not all(_is_origin(one) for one in cast("list[str]", value)):
        raise TenantsUnreadable(f"{place} has what is no origin, such as https://www.example.com")
    if name in ("terms", "privacy", "home") and not _is_page(str(value)):
        raise TenantsUnreadable(f"{place} is no address of a page")
    if name == "support" and not (_is_page(str(value)) or str(value).startswith("mailto:")):
        raise TenantsUnreadable(f"{place} is neither an address of a page nor mailto:")
    if name == "publishable_key" and not str(value).startswith("pk_"):
        raise TenantsUnreadable(f"{place} is no publishable key")
    if name == "time_zone":
        try:
            ZoneInfo(str(value))
        except (ValueError, OSError, KeyError) as error:
            raise TenantsUnreadable(f"{place} is no time zone") from error


def _is_origin(value: str) -> bool:
    """Tell whether an address is an origin; browsers show one with a slash, which means the same."""
    origin = origin_of(value)
    return bool(origin) and origin == value.lower().removesuffix("/")


def _is_page(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("https", "http") and bool(parts.netloc)


def _logo(place: str, file: Path) -> Logo:
    media_type = LOGO_TYPES.get(file.suffix)
    if media_type is None or not file.is_file():
        raise TenantsUnreadable(f"{place} is no file ending in {', '.join(LOGO_TYPES)}")
    content = file.read_bytes()
    if len(content) > LOGO_BYTES_MAX:
        raise TenantsUnreadable(f"{place} has more than {LOGO_BYTES_MAX} bytes")
    return Logo(content=content, media_type=media_type)
