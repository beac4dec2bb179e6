"""What the orchestrator is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from services.orchestrator.domain.decline_limits import DECLINES_MAX
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.orchestrator.domain.surplus import SurplusRefund
from services.orchestrator.facts.reminders import BEFORE
from services.orchestrator.mail.settings import MailSettings
from services.runtime.process.followed import Followed
from services.runtime.process.key_ring import wrapping_key
from services.runtime.process.service import ProcessSettings
from services.runtime.process.settings import Reader, address, directory, each_of, one_of, whole_number
from services.runtime.rpc.channels import TOKENS_DOC

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    process: ProcessSettings
    token_directory: Path
    pricing_address: str
    status_address: str
    gateway_address: str
    booking_check_address: str | None
    allow_on_silence: bool
    abandoned_after: timedelta
    surplus_refund: SurplusRefund
    declines_max: int
    reminded_before: timedelta
    webhook_keys: Followed[tuple[bytes, ...]] | None
    mail: MailSettings

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        process = ProcessSettings.read(read, listen="127.0.0.1:7001")
        return cls(
            process=process,
            token_directory=read("BATZEN_TOKEN_DIRECTORY", directory, doc=TOKENS_DOC),
            pricing_address=read("BATZEN_PRICING_ADDRESS", address, doc="Where pricing is called."),
            status_address=read("BATZEN_STATUS_ADDRESS", address, doc="Where status is called."),
            gateway_address=read("BATZEN_GATEWAY_ADDRESS", address, doc="Where the gateway is called."),
            booking_check_address=read(
                "BATZEN_BOOKING_CHECK_ADDRESS",
                address,
                default=None,
                doc="Where the platform's BookingCheckService is called; no booking is checked if unset.",
            ),
            allow_on_silence=read(
                "BATZEN_BOOKING_CHECK_SILENCE",
                one_of("refuse", "allow"),
                default="refuse",
                doc="What happens while the booking check does not answer: the payment waits, or it goes ahead.",
            )
            == "allow",
            abandoned_after=timedelta(
                seconds=read(
                    "BATZEN_ABANDONED_AFTER_S",
                    whole_number(at_least=1, at_most=30 * DAY_S),
                    default=int(ABANDONED_AFTER.total_seconds()),
                    doc="After how many seconds without a payer's step a payment is cancelled.",
                )
            ),
            declines_max=read(
                "BATZEN_DECLINES_MAX",
                whole_number(at_least=1, at_most=1_000_000),
                default=DECLINES_MAX,
                doc="How many declines of one payer, address or card within an hour are too many.",
            ),
            surplus_refund=SurplusRefund(
                read(
                    "BATZEN_SURPLUS_REFUND",
                    one_of(*SurplusRefund),
                    default=SurplusRefund.PERSON.value,
                    doc="How money that came on an attempt that was given up goes back: by itself, or by a person.",
                )
            ),
            reminded_before=timedelta(
                days=read(
                    "BATZEN_CHARGE_REMINDER_DAYS",
                    whole_number(at_least=0, at_most=60),
                    default=BEFORE.days,
                    doc="How many days before a kept method is charged its payer is reminded; 0: never.",
                )
            ),
            webhook_keys=read.secret(
                "BATZEN_WEBHOOK_KEY",
                each_of(wrapping_key),
                default=None,
                doc="What the secrets of outgoing webhooks are encrypted with; the first new ones, the others until"
                " they are encrypted anew. Without it nothing can be subscribed.",
            ),
            mail=MailSettings.read(read, production=process.production),
        )
