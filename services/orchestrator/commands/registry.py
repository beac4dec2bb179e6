"""All commands by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from services.orchestrator.attempts import Attempts
from services.orchestrator.captures import Captures
from services.orchestrator.charging import Charging
from services.orchestrator.commands.attach_booking import AttachBooking
from services.orchestrator.commands.cancel import CancelPayment
from services.orchestrator.commands.capture import CapturePayment
from services.orchestrator.commands.command import Command
from services.orchestrator.commands.preserve import PreservePayment
from services.orchestrator.commands.refund import RefundPayment
from services.orchestrator.commands.reschedule import ReschedulePayment
from services.orchestrator.commands.resolve import ResolvePayment
from services.orchestrator.commands.resume import ResumePayment
from services.orchestrator.commands.retry import RetryPayment
from services.orchestrator.commands.start import StartPayment
from services.orchestrator.commands.submit import SubmitPayment
from services.orchestrator.decline_limits import DeclineLimits
from services.orchestrator.due_steps.registry import DueSteps
from services.orchestrator.operations.resolving import Resolving
from services.orchestrator.peers import Peers
from services.orchestrator.sessions import PaymentSessions
from services.orchestrator.steps import Steps
from services.orchestrator.storage.store import Store
from services.orchestrator.transition_outbox import TransitionOutbox

AnyCommand = Command[Any, Any]  # type: ignore[explicit-any]  # each has types of its own, which its request brings
"""A command whose types only itself knows."""


class Registry:
    """The commands that a process carries out."""

    def __init__(self, *commands: AnyCommand) -> None:
        self._commands = {command.name: command for command in commands}

    def __iter__(self) -> Iterator[AnyCommand]:
        return iter(self._commands.values())

    def __getitem__(self, name: str) -> AnyCommand:
        return self._commands[name]


def all_commands(
    steps: Steps,
    due_steps: DueSteps,
    captures: Captures,
    outbox: TransitionOutbox,
    peers: Peers,
    *,
    store: Store,
    charging: Charging,
    resolving: Resolving,
    declines: DeclineLimits,
    abandoned_after: timedelta,
    now: Callable[[], datetime],
) -> Registry:
    """Return the commands of this service."""
    attempts, sessions = Attempts(steps, outbox, peers, now=now), PaymentSessions(store, outbox, peers)
    return Registry(
        StartPayment(steps, due_steps, outbox, sessions, peers, abandoned_after=abandoned_after),
        SubmitPayment(store, outbox, peers, declines, now=now),
        CapturePayment(captures, outbox),
        CancelPayment(steps, captures, outbox),
        ReschedulePayment(outbox, now=now),
        RefundPayment(outbox, peers, now=now),
        RetryPayment(attempts, charging, sessions, outbox),
        PreservePayment(outbox),
        ResumePayment(attempts, sessions),
        AttachBooking(outbox, peers, steps.claims),
        ResolvePayment(resolving, outbox),
    )
