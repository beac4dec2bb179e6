"""What the command side decides by: how long it waits, how often it tries, when it gives up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.charge_plan import LASTS_MAX
from services.orchestrator.domain.payment import EXPIRABLE, SESSION_EXPIRED, Snapshot
from services.orchestrator.domain.terms import Terms, Timing
from services.shared.states import Cause

DECLINES_MAX: Final = 10
"""Declines over all methods after which a payment is given up: more tries are how stolen cards are tested."""
ABANDONED_AFTER: Final = timedelta(hours=24)
"""How long an unfinished payment waits for a sign of life of its payer, unless a setting says otherwise."""
DEBIT_FAILS_AFTER_MAX: Final = timedelta(days=30)
"""The slowest debits say after up to 14 business days that they failed; then it is the payer's turn once more."""
SUBMIT_AGE_MAX: Final = timedelta(minutes=5)
"""How old a submit may be when it is first sent to Stripe. Who submitted it looks at the page for seconds, not for
minutes; later they have paid otherwise, or given up, and a charge would be one that nobody expects. Cancels and refunds
go ahead at any age: they take no money, and who asked for them relies on them."""
START_AGE_MAX: Final = timedelta(minutes=15)
"""How old a start may be when its intent is first asked for. No caller waits for longer than seconds, or repeats a
start for longer than minutes; an intent that is made after that has no payer."""

PRESERVE_WINDOW: Final = timedelta(minutes=5)
"""How long a payer who asks to be waited for is waited for, unless they say: as long as it takes to fetch a card."""
PRESERVE_MAX: Final = timedelta(hours=24)
"""The most that they may ask for, counted from when they do."""

RETRY_FIRST: Final = timedelta(milliseconds=500)
RETRY_MAX: Final = timedelta(minutes=1)
"""Also how long after an outage the last of what waited for its end is tried."""
PARKED_AFTER_TRIES: Final = 20
"""Tries in a row, about 15 minutes, after which an operator is needed; the tries go on at `RETRY_MAX`."""
LOOK_AGAIN_AFTER: Final = timedelta(hours=1)
"""How often a payment is read again at Stripe that should long have come to an end there."""

HOLD_MAX: Final = timedelta(days=31)
"""How long a hold lasts at most: the longest that Stripe documents is 30 days, an extended authorization's."""
WARN_HOLD_BEFORE: Final = timedelta(days=1)
"""How long before a hold lapses an operator hears that nobody is going to capture it: a working day to do so."""
RELEASE_BEFORE_LAPSE: Final = timedelta(hours=1)
"""How long before it would lapse a hold is released that its caller wants released. An outage of ours, and the tries
after it, have room in it; the payer has their money back hours or days before a bank's own end of the hold."""


def life_max(abandoned_after: timedelta) -> timedelta:
    """Return how long after its start a payer is waited for, whatever sign of life they give.

    A debit may take its time to fail; then they have a whole turn.
    """
    return DEBIT_FAILS_AFTER_MAX + abandoned_after


def quote_ttl(terms: Terms, abandoned_after: timedelta) -> timedelta:
    """Return how long a quote has to stand: as long as its payer may take, and what is decided after their last try.

    That of a hold stands until the hold has ended, since it is redeemed by the first capture; that of a scheduled
    charge until the last try of the latest that may be planned, and the payer's turn after it; where the payer may
    choose, the longest of what they may. What a quote holds is given back as soon as its payment ends, so a long time
    costs nothing.
    """
    lasts = {Timing.MANUAL_CAPTURE: HOLD_MAX, Timing.SCHEDULED: LASTS_MAX}
    longer = max(lasts.get(timing, timedelta()) for timing in (terms.timing, *terms.timings_offered))
    return life_max(abandoned_after) + longer + LOOK_AGAIN_AFTER


def is_sign_of_life(before: Snapshot, after: Snapshot) -> bool:
    """Whether the payer did something, or the turn came back to them.

    What is seen at Stripe of a payment that waits for its payer is their doing. What we add by ourselves is not, nor is
    that a page's own time is up.
    """
    if after.is_unheard:
        return True
    if after.reason == SESSION_EXPIRED:
        return False
    return after.collection in EXPIRABLE and (after.cause is Cause.OBSERVATION or after.collection != before.collection)


def is_worth_writing(next_time: datetime | None, later: datetime, *, abandoned_after: timedelta) -> bool:
    """Whether a sign of life that changes nothing else moves the end far enough to be written: by a twentieth."""
    return next_time is not None and later - next_time > abandoned_after / 20


def is_given_up(latest: Snapshot, *, tries_of_plan: int = 0) -> bool:
    """Whether no further method is taken: the bank will not change its mind, or stolen cards are being tried.

    What a plan of ours tried by itself says nothing of who pays.
    """
    if latest.collection not in EXPIRABLE:
        return False
    is_final = latest.last_error is not None and not latest.last_error.recoverable
    return is_final or latest.decline_count - tries_of_plan >= DECLINES_MAX


def retry_delay(tries: int) -> timedelta:
    """Return how long to wait after `tries` failed ones in a row: doubling from `RETRY_FIRST` up to `RETRY_MAX`."""
    doublings = min(tries, 20)
    return min(RETRY_FIRST * (1 << doublings), RETRY_MAX)
