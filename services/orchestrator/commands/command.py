"""What every command is to those who run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from services.errors import ServiceError
from services.orchestrator.domain.plan import FirstStep, Request, RequestKey
from services.orchestrator.storage.store import Acceptance, Store
from services.orchestrator.unit_of_work import UnitOfWork

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Withdrawn(Exception):
    """A request is refused for now, before anything was done for it: it is forgotten, as if it had never come.

    So the same request may be asked for again, under the same id. A refusal that is kept stands for good, and one of an
    outage leaves the request open, to be carried on whether its caller wants that by then or not.
    """

    def __init__(self, refusal: ServiceError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Command(ABC, Generic[RequestT, ResponseT]):
    """One RPC of OrchestratorService that changes something."""

    request_type: type[RequestT]
    response_type: type[ResponseT]
    age_max: ClassVar[timedelta | None] = None
    """How old a request may be when it is first sent to Stripe; None where it goes ahead at any age."""
    starts_payment: ClassVar[bool] = False
    """It makes the payment. All others first finish a start that is not done."""
    is_urgent: ClassVar[bool] = False
    """It is carried on before the other open requests of its payment."""
    kept_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the request that are kept for ever where an operator asks; none that is personal, or a secret."""
    yields_to_urgent: ClassVar[bool] = False
    """An urgent request that came after it is carried on before it."""

    @property
    def name(self) -> str:
        """The RPC's; requests are stored under it."""
        return self.request_type.__name__.removesuffix("Request")

    @property
    def point(self) -> str:
        """What the names of its crash points begin with."""
        return self.name.removesuffix("Payment").lower()

    @abstractmethod
    def validate(self, message: RequestT) -> None:
        """Refuse what is wrong with a request whatever the state; nothing is written down before."""

    @abstractmethod
    def payment_id(self, message: RequestT, key: RequestKey) -> str:
        """Return the payment that a request is about."""

    def stored(self, message: RequestT) -> bytes:
        """Return what of a request is stored until it has its answer."""
        return message.SerializeToString()

    def actor_id(self, message: RequestT) -> str:
        """Return who decided, as the request says it; empty where it does not."""
        return ""

    def why(self, message: RequestT) -> str:
        """Return why an operator asked for it, in their words; empty where the request does not say."""
        return ""

    def asked(self, message: RequestT) -> Mapping[str, object]:
        """Return what is kept for ever of what an operator asked for."""
        said: dict[str, object] = MessageToDict(message, preserving_proto_field_name=True)
        return {name: said[name] for name in self.kept_fields if name in said}

    async def accept(
        self, store: Store, request: Request, message: RequestT, *, payer_id: str | None, now: datetime
    ) -> Acceptance:
        """Write a request down, unless it is known or its payment is not `payer_id`'s, and take the payment if free."""
        first_step = self.first_step(request, message)
        return await store.accept(
            request, payer_id=payer_id, point=f"{self.point}.accept", now=now, first_step=first_step
        )

    def first_step(self, request: Request, message: RequestT) -> FirstStep | None:
        """Return what is saved with the request where the payment waits for nothing else; `perform` then goes on."""
        return None

    @abstractmethod
    async def perform(self, work: UnitOfWork, request: Request, message: RequestT) -> ResponseT:
        """Do what is asked for to a held payment; carried on by another process it comes to the same.

        What cannot be asked of others again is decided and saved before they are asked, and the request is marked as
        calling. Everything that is asked of others has an id that is derived from the request. Raises what callers
        hear, `DependencyUnavailable` for what is to be tried again, and `Withdrawn` for what may not be asked for now.
        """

    def for_payer(self, answer: ResponseT) -> ResponseT:
        """Return what of an answer a payer is shown who asked for it."""
        return answer

    def redact(self, answer: ResponseT) -> None:
        """Take out of an answer what must not be stored."""
        return

    async def refresh(self, request: Request, message: RequestT, answer: ResponseT) -> None:
        """Put what `redact` took out back into a stored answer, as it is now, for who repeats `message`."""
        return
