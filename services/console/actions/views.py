"""What the pages of actions show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batzen.status.v1.status_pb2 import Payment
from services.console.actions.domain import Ask, Input, Preview, plain
from services.console.actions.kinds import Action
from services.console.amounts import sum_of
from services.console.payments.shown import Badge, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What an ask needs beside a reason."""

    typed: bool
    released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPage:
    """What is asked first."""

    title: str
    payment_id: str
    total: str
    state: Badge
    path: str
    inputs: Sequence[Input]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPage:
    """What comes of it, and the form that does it."""

    title: str
    button: str
    payment_id: str
    total: str
    state: Badge
    path: str
    preview: Preview
    hidden: Mapping[str, str]
    form: str
    needs: Confirmation
    moved: str
    """The amount as it is shown; empty where nothing moves."""
    typed: str
    """What has to be typed."""
    reason: str
    errors: Mapping[str, str]


def ask_page(action: Action, payment: Payment, inputs: Sequence[Input], *, errors: Mapping[str, str]) -> AskPage:
    """Return the page that asks."""
    return AskPage(
        title=action.title,
        payment_id=payment.payment_id,
        total=sum_of(payment.total),
        state=state_of(payment),
        path=_path(action, payment),
        inputs=inputs,
        errors=errors,
    )


def review_page(
    action: Action,
    payment: Payment,
    ask: Ask,
    preview: Preview,
    *,
    needs: Confirmation,
    form: str,
    given: Mapping[str, str],
    errors: Mapping[str, str],
) -> ReviewPage:
    """Return the page that shows what comes of it."""
    moved = "" if ask.moved is None else sum_of(ask.moved)
    return ReviewPage(
        title=action.title,
        button=f"{action.button} {moved}".strip(),
        payment_id=payment.payment_id,
        total=sum_of(payment.total),
        state=state_of(payment),
        path=_path(action, payment),
        preview=preview,
        hidden={**ask.fields, **preview.fields, "seen": str(payment.revision)},
        form=form,
        needs=needs,
        moved=moved,
        typed="" if ask.moved is None else plain(ask.moved),
        reason=given.get("reason", ""),
        errors=errors,
    )


def _path(action: Action, payment: Payment) -> str:
    return f"/payments/{payment.payment_id}/{action.key}"
