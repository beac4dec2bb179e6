"""The file of tenants is read strictly: what is wrong in it keeps the front from starting, and says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.bff.tenants import TenantsUnreadable, read_tenants


def test_a_tenant_says_its_name_its_addresses_and_its_logo(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text("<svg/>")
    file = tmp_path / "tenants.toml"
    file.write_text('[main]\nname = "Alpine"\nhome = "https://example.com"\nlogo = "logo.svg"\noffers_form = true\n')
    tenants = read_tenants(str(file))

    alpine = tenants.of("main")
    assert (alpine.name, alpine.home, alpine.offers_form) == ("Alpine", "https://example.com", True)
    assert alpine.logo is not None
    assert alpine.logo.media_type == "image/svg+xml"
    assert tenants.of("other_one").name == "Other One"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nam = 'x'", "main.nam is not known"),
        ("offers_form = 'yes'", "main.offers_form has another type"),
        ("home = 'javascript:alert(1)'", "main.home is no address of a page"),
        ("support = 'tel:1'", "main.support is neither"),
        ("publishable_key = 'sk_live_1'", "main.publishable_key is no publishable key"),
        ("time_zone = 'Mars/Olympus'", "main.time_zone is no time zone"),
        ("logo = 'none.svg'", "main.logo is no file"),
        ("name = ''", "main has no name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, problem: str) -> None:
    file = tmp_path / "tenants.toml"
    name = "" if line.startswith("name") else 'name = "Alpine"\n'
    file.write_text(f"[main]\n{name}{line}\n")

    with pytest.raises(TenantsUnreadable, match=problem):
        read_tenants(str(file))
