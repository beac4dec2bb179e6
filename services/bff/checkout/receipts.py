"""The page of a receipt; what stands on it is that of the mail (`services.receipts`). Pure."""

from __future__ import annotations

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.bff.checkout.model import Key
from services.bff.checkout.place import Place
from services.bff.checkout.shown import Shown
from services.receipts.content import receipt as receipt_of


def receipt(found: pb.Receipt, place: Place) -> Shown:
    """Return the page of a payment's receipt."""
    words = place.words
    page = place.page(
        Key.RECEIPT,
        payment_id=found.payment.payment_id,
        revision=found.payment.revision,
        heading=words.say("receipt.heading"),
        status=f"{words.say('receipt.heading')}.",
        is_live=False,
    )
    shown = receipt_of(found, words, issuer=place.tenant.name)
    return Shown(template="checkout/receipt.html", page=page, part={"receipt": shown}, words=words)
