"""The tables of the client package that stand in the documents."""

from __future__ import annotations

from batzen import vocabularies
from batzen.status.v1.status_pb2 import Phase
from batzen.type.v1.payment_pb2 import PaymentState

_YES_OR_NO = {None: "", True: "yes", False: "no"}


def words() -> str:
    """Return what the older vocabularies call a payment, as Markdown."""
    lines = [
        "| state | has a booking | method chosen | flow phase | checkout step | booking | reservation | modal |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for line in vocabularies.TABLE:
        words = line.words
        cells = [
            f"`{_state(line.state)}`",
            _YES_OR_NO[line.has_booking],
            _YES_OR_NO[line.method_chosen],
            f"`{words.flow_phase}`",
            f"`{words.checkout_step}`",
            f"`{words.booking_status}`",
            f"`{words.reservation_status}`",
            f"`{words.modal_state}`",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def nearest() -> str:
    """Return how a newer state is read, as Markdown."""
    lines = ["| `phase` | `settled` | is read as |", "| --- | --- | --- |"]
    lines += [
        f"| `{Phase.Name(phase).removeprefix('PHASE_')}` | {_YES_OR_NO[settled]} | `{_state(state)}` |"
        for (phase, settled), state in vocabularies.NEAREST.items()
    ]
    return "\n".join([*lines, "| any other | | `PROCESSING` |"]) + "\n"


def refusal_words() -> str:
    """Return what reasons of refusals are called, as Markdown."""
    lines = ["| reason | older word |", "| --- | --- |"]
    lines += [f"| `{reason}` | `{word}` |" for reason, word in vocabularies.REFUSALS.items()]
    return "\n".join(lines) + "\n"


def _state(state: PaymentState) -> str:
    return PaymentState.Name(state).removeprefix("PAYMENT_STATE_")
