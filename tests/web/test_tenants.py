"""The file of tenants is read strictly: what is wrong in it keeps the front from starting, and says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.bff.tenants import Tenant, TenantsUnreadable, read_tenants


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
        (
            "vat_id = 'CHE-1'",
            "main.vat_id stands in the notification policy now: .* put-policy --vat-id`, and leave it",
        ),
        ("address = ['Weg 1']", "main.address stands in .* `batzen notifications put-policy --address`"),
        ("offers_form = 'yes'", "main.offers_form has another type"),
        ("home = 'javascript:alert(1)'", "main.home is no address of a page"),
        ("support = 'tel:1'", "main.support is neither"),
        ("publishable_key = 'sk_live_1'", "main.publishable_key is no publishable key"),
        ("time_zone = 'Mars/Olympus'", "main.time_zone is no time zone"),
        ("return_origins = ['https://shop.example/back']", "main.return_origins has what is no origin"),
        ("return_origins = ['https://shop.example//']", "main.return_origins has what is no origin"),
        ("return_origins = ['/']", "main.return_origins has what is no origin"),
        ("return_origins = ['']", "main.return_origins has what is no origin"),
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


def test_an_origin_may_end_in_a_slash_as_browsers_show_it(tmp_path: Path) -> None:
    file = tmp_path / "tenants.toml"
    file.write_text('[main]\nname = "Alpine"\nreturn_origins = ["https://Shop.example/"]\n')

    tenant = read_tenants(str(file)).of("main")
    assert tenant.origins == {"https://shop.example"}
    assert tenant.takes_back("https://shop.example/thanks", own_origin=OWN, is_service=False)


OWN = "https://pay.example"
NAMED = Tenant(name="Shop", home="https://shop.example/bookings", return_origins=("https://www.shop.example",))


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("https://shop.example/thanks?booking=1", True),
        ("HTTPS://WWW.SHOP.EXAMPLE/{PAYMENT_ID}", True),
        (f"{OWN}/return/{{PAYMENT_ID}}", True),
        ("https://shop.example:8443/thanks", False),
        ("http://shop.example/thanks", False),
        ("https://shop.example.evil.example/", False),
        ("https://shop.example@evil.example/", False),
        ("https://evil.example\\@shop.example/", False),
        ("//shop.example/", False),
        ("/thanks", False),
        ("https://[", False),
    ],
)
def test_payers_are_sent_back_to_where_their_tenant_is(address: str, *, is_taken: bool) -> None:
    for is_service in (True, False):
        assert NAMED.takes_back(address, own_origin=OWN, is_service=is_service) == is_taken


def test_a_service_of_a_tenant_that_names_no_origin_may_name_any_and_a_payer_may_not() -> None:
    nameless = Tenant(name="Shop")

    assert nameless.takes_back("https://shop.example/", own_origin=OWN, is_service=True)
    assert not nameless.takes_back("https://shop.example/", own_origin=OWN, is_service=False)
