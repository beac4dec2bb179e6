"""What the templates of the checkout are given: values that are ready to be shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.receipts.model import Fact, Row


class Key(StrEnum):
    """Which page it is; a browser that shows another one than its payment has by now loads it anew."""

    LOADING = "loading"
    TIMING = "timing"
    METHOD = "method"
    CONFIRM = "confirm"
    CARD = "card"
    ATTENTION = "attention"
    PROCESSING = "processing"
    HELD = "held"
    SCHEDULED = "scheduled"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"
    RECEIPT = "receipt"
    NOT_KNOWN = "not_known"
    MESSAGE = "message"


class StepState(StrEnum):
    """How far a step is."""

    DONE = "done"
    NOW = "now"
    NEXT = "next"


class Tone(StrEnum):
    """How a notice looks; its words say the same."""

    GOOD = "good"
    INFO = "info"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to somewhere."""

    label: str
    href: str
    is_current: bool = False
    name: str = ""
    """In full, where the label is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What stands around every page of a tenant."""

    name: str
    logo: str | None
    terms: str | None
    privacy: str | None
    support: Link | None
    languages: Sequence[Link]
    home: str | None
    """Where the payer came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is paid for, and what it costs."""

    title: str
    rows: Sequence[Row]
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the way."""

    label: str
    state: StepState
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What happened, in a box above the form."""

    tone: Tone
    title: str
    text: str = ""
    key: str = ""
    """Of the catalogue: for tests and for the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to pay."""

    value: str
    """What the form sends."""
    title: str
    mark: str
    """The mark that is drawn beside it."""
    detail: str = ""
    problem: str = ""
    """Why it cannot be chosen; empty where it can."""
    is_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What every page of a payment has."""

    key: Key
    payment_id: str
    revision: int
    shell: Shell
    order: Order | None
    heading: str
    lead: str = ""
    status: str = ""
    """What a screen reader hears of it."""
    steps: Sequence[Step] = ()
    notice: Notice | None = None
    is_live: bool = True
    """Whether the page follows the payment."""
    is_plain: bool = False
    """Whether it goes without its script."""
    home: str = ""
    """The address of this payment's page."""
    events: str = ""
    checked: str = ""
    """When it was read, for the eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingOption:
    """One time at which the money may be taken."""

    value: str
    """What the form sends."""
    title: str
    detail: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingStep:
    """When the money is taken."""

    facts: Sequence[Fact]
    text: str
    onwards: str
    """Where the next step is, of a payer who has no choice."""
    options: Sequence[TimingOption] = ()
    """What they may choose."""
    action: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStep:
    """Which way to pay."""

    methods: Sequence[Method]
    action: str
    can_cancel: bool
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmStep:
    """The last look before paying."""

    method: Method
    change: str
    """Where another way is chosen."""
    action: str
    request_id: str
    button: str
    promise: str
    """What the button does, where it does not say so."""
    total: str
    """What is shown to be paid, as the form sends it back."""
    timing: str
    """When it is shown to be taken, as the form sends it back."""
    offers_keeping: bool
    mandate: str
    """What a payer agrees to whose card is kept."""
    must_keep: bool
    """The card is kept in any case: the payment is charged later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardStep:
    """The form of Stripe's in our page."""

    script: str
    """Where Stripe's script is."""
    publishable_key: str
    client_secret: str
    locale: str
    return_url: str
    action: str
    request_id: str
    button: str
    otherwise: str
    """Where the hosted page is offered instead."""
    other_request_id: str
    other_action: str
    total: str
    """What is shown to be paid, as the forms send it back."""
    timing: str
    """When it is shown to be taken, as the forms send it back."""
    mandate: str
    must_keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The payer's bank wants to hear from them."""

    redirect_url: str
    """Where to; empty where Stripe's script shows it."""
    script: str
    publishable_key: str
    client_secret: str
    check: str
    """Where it is looked whether that is done."""
    request_id: str
    another: str
    """Where the hosted page is taken instead; empty where it is one."""
    another_id: str
    facts: Sequence[Fact] = ()
    """What the bank is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """It is not known yet."""

    is_slow: bool
    check: str
    facts: Sequence[Fact] = ()
    tells_by_mail: bool = False
    is_unknown: bool = False
    """The answer of Stripe was lost, and it is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How it was."""

    action: str
    request_id: str
    answered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The payment can be called off. It is done by a second press, beside what it means."""

    action: str
    request_id: str
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended, or stands for good."""

    tone: Tone
    amount: str
    facts: Sequence[Fact]
    next: str
    home: Link | None
    receipt: str = ""
    again: Link | None = None
    question: Question | None = None
    cancel: Cancel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page that says one thing."""

    tone: Tone
    text: str
    action: Link | None
    code: str = ""
    reference: str = ""
    """The correlation id."""
