"""When the money of a payment is taken: what its payer is told of it, and may choose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.bff.checkout.model import TimingOption
from services.bff.checkout.place import Place
from services.bff.checkout.shown import total_of

NAMES: Final[Mapping[str, pb.Timing]] = {
    "now": pb.TIMING_IMMEDIATE,
    "hold": pb.TIMING_MANUAL_CAPTURE,
    "later": pb.TIMING_SCHEDULED,
}
"""As forms carry them."""
_SENT: Final = {timing: name for name, timing in NAMES.items()}


def sent(timing: pb.Timing) -> str:
    """Return a timing as a form carries it; empty of one that is newer than this front."""
    return _SENT.get(timing, "")


def seen(form: Mapping[str, str]) -> pb.Timing:
    """Return the timing that a form was shown with; unspecified where it says none that there is."""
    return NAMES.get(form.get("timing", ""), pb.TIMING_UNSPECIFIED)


def offered(session: pb.PaymentSession, now: datetime) -> Sequence[pb.Timing]:
    """Return what the payer may choose, without what is too late by now; none where only one is left."""
    known = [one.timing for one in session.timings_offered if one.timing in _SENT and not _is_over(one, now)]
    return known if len(known) > 1 else ()


def is_shown(session: pb.PaymentSession, now: datetime) -> bool:
    """Tell whether the way has a step that says when the money is taken."""
    return session.timing != pb.TIMING_IMMEDIATE or bool(offered(session, now))


def option(timing: pb.Timing, session: pb.PaymentSession, place: Place) -> TimingOption:
    """Return one of several timings, as it is chosen."""
    return TimingOption(
        value=sent(timing),
        title=title(timing, session, place),
        detail=text(timing, session, place),
        is_chosen=timing == session.timing,
    )


def title(timing: pb.Timing, session: pb.PaymentSession, place: Place) -> str:
    """Return a timing in a few words."""
    say = place.words.say
    if timing == pb.TIMING_SCHEDULED:
        return say("timing.later", time=_moment(_times(timing, session), "charge_time", place))
    return say("timing.hold" if timing == pb.TIMING_MANUAL_CAPTURE else "timing.now")


def text(timing: pb.Timing, session: pb.PaymentSession, place: Place) -> str:
    """Return what happens to the money, and when."""
    say, times = place.words.say, _times(timing, session)
    if timing == pb.TIMING_SCHEDULED:
        return say("timing.scheduled", time=_moment(times, "charge_time", place))
    if timing == pb.TIMING_IMMEDIATE:
        return say("timing.at_once", amount=total_of(session, place))
    if times.HasField("capture_time"):
        return say("timing.held_until", time=_moment(times, "capture_time", place))
    return say("timing.held")


def moment(session: pb.PaymentSession, place: Place) -> str:
    """Return when a scheduled payment is charged."""
    return _moment(session, "charge_time", place)


def _times(timing: pb.Timing, session: pb.PaymentSession) -> pb.PaymentSession | pb.OfferedTiming:
    """Return what says when money moves with a timing: the payment where it has that one, else the offer."""
    if timing == session.timing:
        return session
    return next((one for one in session.timings_offered if one.timing == timing), pb.OfferedTiming())


def _moment(times: pb.PaymentSession | pb.OfferedTiming, name: str, place: Place) -> str:
    at = times.charge_time if name == "charge_time" else times.capture_time
    return place.words.moment(at.ToDatetime(UTC))


def _is_over(one: pb.OfferedTiming, now: datetime) -> bool:
    times = [getattr(one, name).ToDatetime(UTC) for name in ("charge_time", "capture_time") if one.HasField(name)]
    return any(time <= now for time in times)
