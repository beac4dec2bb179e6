"""A diagnosis is read at a terminal of 80 columns: who says what, what disagrees, what would be done."""

from __future__ import annotations

from batzen.cli.diagnosis_view import in_units, lines
from batzen.orchestrator.v1.ops_pb2 import Diagnosis
from batzen.type.v1 import diagnosis_pb2 as said
from batzen.type.v1.diagnosis_pb2 import Disagreement, Figure, Side
from batzen.type.v1.money_pb2 import Money

PAYMENT_ID = "pay_abcdefghijklmnopqrstuvwxyz"


def chf(name: str, minor: int) -> Figure:
    return Figure(name=name, amount=Money(amount_minor=minor, currency_code="CHF"))


def text(name: str, value: str) -> Figure:
    return Figure(name=name, text=value)


DIAGNOSIS = Diagnosis(
    payment_id=PAYMENT_ID,
    sides=[
        Side(
            keeper=said.KEEPER_PLAN,
            figures=[text("state", "SUCCEEDED"), chf("total", 10_000), chf("given back", 2_500), text("revision", "6")],
        ),
        Side(
            keeper=said.KEEPER_STATUS,
            figures=[text("state", "SUCCEEDED"), chf("total", 10_000), chf("given back", 2_500), text("revision", "7")],
        ),
        Side(keeper=said.KEEPER_QUOTE, problem="The service pricing is not available."),
        Side(
            keeper=said.KEEPER_MIRROR,
            figures=[chf("total", 10_000), chf("given back", 2_500), chf("a_seller_with_quite_a_long_name has", 8_500)],
        ),
        Side(keeper=said.KEEPER_STRIPE, figures=[chf("total", 10_000), chf("given back", 3_500)]),
    ],
    disagreements=[
        Disagreement(
            check="STRIPE_REFUND",
            about="re_planted",
            meaning="A refund is at Stripe and not mirrored, or the reverse, or it stands otherwise.",
            sayings=[
                Disagreement.Saying(keeper=said.KEEPER_MIRROR, text="nothing"),
                Disagreement.Saying(keeper=said.KEEPER_STRIPE, text="1000 CHF SUCCEEDED"),
            ],
            remedy="Read it at Stripe again: `batzen resolve PAYMENT_ID`.",
            waits_for="Stripe made it less than five minutes ago: its event may be on its way.",
        )
    ],
)

SHOWN = """\
pay_abcdefghijklmnopqrstuvwxyz   1 disagreement, without quote

CHF                         plan  status  mirror  Stripe
total                     100.00  100.00  100.00  100.00
given back                 25.00   25.00   25.00   35.00
a_seller_with_quite_a_l…                   85.00

state     plan, status: SUCCEEDED
revision  plan: 6; status: 7
quote: The service pricing is not available.

1. STRIPE_REFUND  re_planted
   A refund is at Stripe and not mirrored, or the reverse, or it stands
   otherwise.
     mirror  nothing
     Stripe  10.00 CHF SUCCEEDED
   It may end by itself: Stripe made it less than five minutes ago: its event
   may be on its way.
   → Read it at Stripe again: batzen resolve pay_abcdefghijklmnopqrstuvwxyz
"""


def shown(diagnosis: Diagnosis) -> str:
    return "".join(f"{line}\n" for line, _ in lines(diagnosis))


def test_a_diagnosis_tells_a_person_what_disagrees_and_what_would_be_done() -> None:
    assert shown(DIAGNOSIS) == SHOWN


def test_a_row_in_which_they_differ_stands_out() -> None:
    styles = {line.split("  ")[0]: style for line, style in lines(DIAGNOSIS)}

    assert (styles["total"], styles["given back"], styles["revision"], styles["state"]) == ("", "red", "red", "")


def test_amounts_that_do_not_fit_the_columns_are_lists_that_do() -> None:
    wide = Diagnosis(payment_id=PAYMENT_ID)
    for keeper in said.Keeper.values()[1:]:
        wide.sides.append(Side(keeper=keeper, figures=[chf("a seller's part of it", 123_456_789_012_345)]))  # type: ignore[arg-type]

    printed = shown(wide)

    assert "plan, status, quote, mirror, ledger, Stripe:" in printed
    assert "1'234'567'890'123.45 CHF" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_records_that_agree_say_so_and_one_that_moves_says_that() -> None:
    assert shown(Diagnosis(payment_id=PAYMENT_ID)) == f"{PAYMENT_ID}   all records agree\n\n"
    assert "Ask again." in shown(Diagnosis(payment_id=PAYMENT_ID, is_moving=True)).replace("\n", " ")


def test_amounts_in_sentences_are_in_units_and_nothing_else_is() -> None:
    assert (
        in_units("takes 1000 CHF, has -5 JPY; txn_1000 CHFX, 3 ABCD")
        == "takes 10.00 CHF, has -5 JPY; txn_1000 CHFX, 3 ABCD"
    )
