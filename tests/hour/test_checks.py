"""What the hour looks for can be missed: each check finds what it is for, and nothing where there is nothing."""

from __future__ import annotations

from tests.hour import checks

ID = "pay_01m8m25aks4ptnx329n3qwzs77"
LIST = f"""● {ID}      100.00 CHF  succeeded
  29.11. 16:28  payer_1
○ {ID[:-1]}8        5.00 CHF  requires payment method
  29.11. 16:28  payer_1 · insufficient funds
"""


def test_proposed_commands_are_found_whole() -> None:
    text = f"Paid 1.00 CHF\n  {checks.BATZEN} show {ID}\n"
    text += f"Try another card: {checks.BATZEN} pay --payment {ID} --card visa"

    assert list(checks.hints(text)) == [
        f"{checks.BATZEN} show {ID}",
        f"{checks.BATZEN} pay --payment {ID} --card visa",
    ]
    assert checks.payment_id(text) == ID
    assert checks.blanks(text) == []
    assert checks.blanks(text.replace(ID, "PAYMENT_ID")) != []


def test_other_ways_to_call_it_are_found() -> None:
    assert checks.odd_calls(f"  {checks.BATZEN} list") == []
    assert checks.odd_calls("  .batzen/venv/bin/python -m batzen list") != []


def test_what_does_not_fit_and_what_is_cut_is_found() -> None:
    assert (checks.too_wide(LIST), checks.cut_ids(LIST)) == ([], [])
    assert checks.too_wide("x" * 81) == ["x" * 81]
    assert checks.cut_ids("pay_01m8m25aks4ptn…") == ["pay_01m8m25aks4ptn…"]


def test_signs_of_more_than_one_state_are_found() -> None:
    assert checks.signs(LIST) == {"●": "succeeded", "○": "requires payment method"}
    assert checks.shared_signs(LIST) == {}
    assert checks.shared_signs(LIST.replace("○", "●")) == {"●": {"succeeded", "requires payment method"}}


def test_names_of_types_and_gaps_are_found() -> None:
    assert checks.typed_values("--json  Print JSON   --name TEXT  --3ds <succeed|fail>") == []
    assert checks.typed_values("--limit <int range> --json <bool>") == ["<int range>", "<bool>"]
    assert checks.missing("Amounts\nLedger", ["Amounts", "History"]) == ["History"]


def test_amounts_without_their_currency_are_found() -> None:
    assert checks.cut_amounts("✓  Paid  120.00 CHF\n   pay_1  captured 120.00 CHF\n  → captured 12") == []
    assert checks.cut_amounts("   captured 120.00\n   lost 45.50 C") == ["captured 120.00", "lost 45.50 C"]


def test_commands_of_a_document_are_found() -> None:
    assert checks.shell_blocks("a\n```sh\nbuf curl\n```\n```python\nb\n```\n") == ["buf curl\n"]
