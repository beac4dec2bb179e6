"""What `/v1` takes and answers. Money is whole minor units beside a currency; times are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from services.bff.api.reading import said

Identifier = Annotated[str, Field(min_length=1, max_length=128)]
MinorUnits = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Timing = Literal["IMMEDIATE", "MANUAL_CAPTURE", "SCHEDULED"]
TimingOrNone = Literal["", "IMMEDIATE", "MANUAL_CAPTURE", "SCHEDULED"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CHF"])]


class Answer(BaseModel):
    """What is answered; fields may be added."""

    model_config = ConfigDict(frozen=True)


class Body(BaseModel):
    """What is taken; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class Money(Body):
    """An amount."""

    amount_minor: MinorUnits
    currency_code: Currency


MoneyOrAll = Annotated[Money | SkipJsonSchema[None], BeforeValidator(said)]


class Amounts(Answer):
    """The amounts of a payment, in minor units of its currency."""

    authorized_minor: int
    capturable_minor: int
    captured_minor: int
    refund_pending_minor: int
    refunded_minor: int
    disputed_open_minor: int
    disputed_lost_minor: int
    surplus_minor: int = Field(
        description="Taken on another attempt than the one that counts, and not given back yet; no part of captured."
    )


class Method(Answer):
    """A way to pay, as far as it is safe to show."""

    payment_method_id: str
    type: str
    brand: str
    last4: str
    expire_month: int
    expire_year: int


class PaymentProblem(Answer):
    """What went wrong while collecting. A declined card is a state of the payment and this, never an HTTP error."""

    code: str
    decline_code: str
    message: str = Field(description="For logs; what a payer reads is chosen by the codes.")
    recoverable: bool


class Payment(Answer):
    """A payment at one revision."""

    payment_id: str
    revision: int
    state: str = Field(description="INITIALIZED to DISPUTE_LOST; one that is not known is to be read by `phase`.")
    phase: str
    settled: bool
    reason: str
    total: Money
    amounts: Amounts
    payer_id: str
    seller_ids: list[str]
    booking_ids: list[str]
    client_reference: str
    attempt: int
    decline_count: int
    method: Method | None
    last_error: PaymentProblem | None
    charge_time: datetime | None
    hold_expire_time: datetime | None
    open_time: datetime
    update_time: datetime
    complete_time: datetime | None


class PriceRow(Answer):
    """One row of the price, for the payer's eyes."""

    kind: str
    line_id: str
    amount_minor: int
    display: str
    rate_percent: str
    included_in_total: bool


class Price(Answer):
    """What the payment charges, as pricing wrote it."""

    quote_id: str
    total: Money
    total_display: str
    rows: list[PriceRow]
    expire_time: datetime | None


class OfferedTiming(Answer):
    """A timing that a payer may choose, and when money would move with it."""

    timing: str = Field(description="IMMEDIATE, MANUAL_CAPTURE or SCHEDULED.")
    charge_time: datetime | None = Field(description="Of SCHEDULED: when it would be charged.")
    capture_time: datetime | None = Field(
        description="Of MANUAL_CAPTURE: when what is held would be taken by itself; null where it would not."
    )


class Session(Answer):
    """What a payer needs to go on."""

    payment: Payment
    price: Price | None
    client_secret: str = Field(description="For Stripe's script in the payer's browser; empty where none is needed.")
    checkout_url: str = Field(description="The hosted page to send the payer to; empty where there is none.")
    redirect_url: str = Field(description="Where the payer has to go next, such as their bank; empty for nowhere.")
    intent_id: str
    charge_id: str
    timing: str = Field(description="When the money is taken: IMMEDIATE, MANUAL_CAPTURE or SCHEDULED.")
    timings_offered: list[OfferedTiming] = Field(
        description="What the payer may choose among, by resume; empty where they have no choice, or not any more."
    )


class Confirmed(Answer):
    """What came of a confirm."""

    payment: Payment
    redirect_url: str


class PaymentPage(Answer):
    """One page of payments, the newest first."""

    payments: list[Payment]
    next_page_token: str


class TransitionEntry(Answer):
    """One step of a payment's history."""

    revision: int
    state: str
    phase: str
    settled: bool
    reason: str
    amounts: Amounts
    last_error: PaymentProblem | None
    record_time: datetime


class History(Answer):
    """One page of a payment's history, the oldest first."""

    transitions: list[TransitionEntry]
    next_page_token: str


class KeptMethod(Method):
    """A way to pay that a payer keeps."""

    default: bool
    expired: bool


class KeptMethods(Answer):
    """The ways to pay that a payer keeps, the default first."""

    payment_methods: list[KeptMethod]


class RefundPreview(Answer):
    """What a refund would do."""

    amount: Money
    refundable: Money
    policy_amount: Money


class Refund(Answer):
    """What came of a refund."""

    refund_id: str
    amount: Money
    payment: Payment


class Line(Body):
    """One thing that is sold."""

    line_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
    seller_id: Identifier
    kind: Literal["SESSION", "RESERVATION", "GOODS", "DIGITAL"] = "SESSION"
    quantity: Annotated[str, Field(pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})?$", examples=["1"])] = "1"
    unit_amount: Money
    tax_category: Annotated[str, Field(max_length=32)] = ""
    tax_behavior: Literal["INCLUSIVE", "EXCLUSIVE"] = "INCLUSIVE"


class Payer(Body):
    """Who pays."""

    payer_id: Identifier
    email: Annotated[str, Field(max_length=254)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    locale: Annotated[str, Field(max_length=35)] = ""


class StartPayment(Body):
    """A payment that a service starts: it answers for price and bookings."""

    payer: Payer
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)]
    booking_ids: Annotated[list[Identifier], Field(max_length=100)] = []
    session_type: Annotated[str, Field(max_length=64)] = ""
    session_name: Annotated[str, Field(max_length=200)] = ""
    client_reference: Annotated[str, Field(max_length=128)] = ""
    collection: Literal["CHECKOUT", "ELEMENTS"] = "CHECKOUT"
    timing: Timing = "IMMEDIATE"
    timings_offered: Annotated[list[Timing], Field(max_length=3)] = Field(
        default=[], description="What the payer may choose among, by resume, with `timing` among them."
    )
    charge_time: datetime | None = None
    return_url: Annotated[str, Field(max_length=2000)] = ""
    cancel_url: Annotated[str, Field(max_length=2000)] = ""
    coupon_codes: Annotated[list[Identifier], Field(max_length=10)] = []
    keep_method: bool = False
    labels: Annotated[dict[str, str], Field(max_length=50)] = {}


class ConfirmPayment(Body):
    """With what a payer pays: one of the two."""

    payment_method_id: Annotated[str, Field(max_length=128)] = ""
    confirmation_token_id: Annotated[str, Field(max_length=128)] = ""
    return_url: Annotated[str, Field(max_length=2000)] = ""
    keep_method: bool = Field(default=False, description="The payer agreed that it is kept for later charges.")
    expected_total: Money | None = Field(
        default=None,
        description="What the payer was shown; another price is 409 `PRICE_CHANGED`. Only a service may leave it out.",
    )
    expected_timing: TimingOrNone = Field(
        default="",
        description=(
            "The timing that the payer was shown; another one is 409 `TIMING_CHANGED`. "
            "Where the session has `timings_offered` only a service may leave it out."
        ),
    )


class ResumePayment(Body):
    """What the payer chose meanwhile."""

    timing: TimingOrNone = Field(default="", description="One of the session's `timings_offered`; empty leaves it.")


class Explained(Body):
    """Why, without personal data."""

    reason: Annotated[str, Field(max_length=200)] = ""


class PreservePayment(Explained):
    """For how long a payment is to wait for its payer."""

    window_s: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 300


class CapturePayment(Body):
    """What is taken of what is held."""

    amount: MoneyOrAll = Field(default=None, description="All that is held, where it is not set.")
    final_capture: bool = False
    actor_id: Identifier


class RetryPayment(Body):
    """How the method is collected from now on."""

    collection: Literal["", "CHECKOUT", "ELEMENTS"] = ""


class RefundPayment(Body):
    """What goes back."""

    amount: MoneyOrAll = Field(default=None, description="All of `expected_refundable`, where it is not set.")
    expected_refundable: Money
    reason: Literal["", "REQUESTED_BY_PAYER", "DUPLICATE", "FRAUDULENT"] = ""
    seller_id: Annotated[str, Field(max_length=128)] = ""
    actor_id: Identifier


class KeepMethod(Body):
    """A way to pay that is to be kept, as its payer agreed."""

    payment_method_id: Identifier
    payer_id: Annotated[str, Field(max_length=128)] = Field(
        default="", description="A payer need not say who they are."
    )


class OfPayer(Body):
    """Whose it is."""

    payer_id: Annotated[str, Field(max_length=128)] = ""


class Nothing(Body):
    """Nothing: `{}`."""


class Violation(Answer):
    """One field that is wrong."""

    field: str
    description: str


class Problem(Answer):
    """RFC 9457, `application/problem+json`."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str = Field(description="For a person, in their language.")
    code: str = Field(description="For programs, stable: the reason of the service that refused.")
    recoverable: bool = Field(description="Whether the person may try again, perhaps otherwise.")
    retryable: bool = Field(description="Whether the very same request may meet another answer.")
    field: str | None
    violations: list[Violation]
    metadata: dict[str, str]
    traceId: str = Field(description="Name it when asking about this failure.")


class Resumed(Answer):
    """A payment that was picked up again."""

    session: Session
    price_changed: bool = Field(description="It costs something else now; nothing is charged before a new confirm.")
    total_before: Money | None
    total_now: Money | None


class SatisfactionDay(Answer):
    """What payers answered on one day, 1 to 5 each. The mean is the sum by the count, over any days."""

    day: date = Field(description="By the clock of Europe/Zurich; a day without an answer is not there.")
    answer_count: int
    score_sum: int


class Satisfaction(Answer):
    """How paying was, as payers say."""

    days: list[SatisfactionDay]
