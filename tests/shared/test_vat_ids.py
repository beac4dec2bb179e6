"""VAT ids by their form, as people enter them and as receipts write them."""

from __future__ import annotations

import pytest

from services.shared.vat_ids import CHARACTERS_MAX, read_vat_id


@pytest.mark.parametrize(
    ("entered", "written"),
    [
        ("CHE-123.456.788 MWST", "CHE-123.456.788 MWST"),
        ("che123456788", "CHE-123.456.788 MWST"),
        ("CHE-123.456.788 TVA", "CHE-123.456.788 TVA"),
        ("CHE 123 456 788 IVA", "CHE-123.456.788 IVA"),
        ("DE 123 456 789", "DE123456789"),
        ("ATU12345678", "ATU12345678"),
        ("FR 4Z 123456789", "FR4Z123456789"),
        ("IE1234567WA", "IE1234567WA"),
        ("NL123456789B01", "NL123456789B01"),
        ("EL123456789", "EL123456789"),
        ("GB 123 4567 89", "GB123456789"),
        ("GBGD123", "GBGD123"),
        ("923 609 016 MVA", "NO923609016MVA"),
        ("NO 923609016 MVA", "NO923609016MVA"),
    ],
)
def test_a_number_is_written_in_one_way_however_it_is_entered(entered: str, written: str) -> None:
    assert read_vat_id(entered) == written
    assert read_vat_id(written) == written


@pytest.mark.parametrize(
    "entered",
    [
        "",
        "CHE-123.456.78",
        "CHE-123.456.788 GST",
        "DE12345678",
        "DE123456789\n<b>",
        "US123456789",
        "123456789",
        "GR123456789",
        "DE１２３４５６７８９",
        "D" * (CHARACTERS_MAX + 1),
    ],
)
def test_what_is_no_number_of_a_country_is_refused(entered: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_vat_id(entered)
