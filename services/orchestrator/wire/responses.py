"""What others may see of what is passed on. Names what is shown: a field of later is hidden until it is named, too."""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.pricing.v1 import pricing_pb2

M = TypeVar("M", bound=Message)

_SHOWN: Final = (
    "quote_id",
    "currency_code",
    "total",
    "lines",
    "rounding",
    "payer_id",
    "create_time",
    "expire_time",
    "preview",
    "total_display",
)
_SHOWN_OF_SELLER: Final = ("seller_id", "base_minor", "net_minor", "vat_minor", "gross_minor")
_SHOWN_OF_ADJUSTMENT: Final = ("adjustment_id", "coupon_code", "direction", "amount_minor", "shares")
_NOT_OF_TOTAL: Final = frozenset({pricing_pb2.STAGE_PLATFORM_FEE})


def for_payer(quote: pricing_pb2.Quote) -> pricing_pb2.Quote:
    """Return what a payer sees of a quote: what they pay, for what, to whom, and how it came about.

    Left out is what platform and sellers settle between them: fees, fee plans, shares, who bears a discount.
    """
    shown = pricing_pb2.Quote(
        rows=[row for row in quote.rows if row.payer_facing],
        sellers=[_copy(seller, _SHOWN_OF_SELLER) for seller in quote.sellers],
        stages=[stage for stage in quote.stages if stage.stage not in _NOT_OF_TOTAL],
        adjustments=[_copy(adjustment, _SHOWN_OF_ADJUSTMENT) for adjustment in quote.adjustments],
    )
    shown.MergeFrom(_copy(quote, _SHOWN))
    return shown


def _copy(message: M, names: tuple[str, ...]) -> M:
    """Return a message with the fields of these names alone."""
    copied = type(message)()
    copied.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.name not in names:
            copied.ClearField(field.name)
    copied.DiscardUnknownFields()
    return copied
