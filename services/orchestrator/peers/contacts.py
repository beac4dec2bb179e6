"""How payers and sellers are reached: the gateway keeps that, encrypted; here it is asked for and kept nowhere."""

from __future__ import annotations

from typing import Final

from batzen.gateway.v1 import contacts_pb2
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from services.orchestrator.mail.domain import Contact
from services.orchestrator.notifications.kinds import RecipientKind
from services.orchestrator.peers.refusals import answered

PEER: Final = "gateway"


class GatewayContacts:
    """What is asked of the gateway."""

    def __init__(self, stub: ContactServiceStub) -> None:
        self._stub = stub

    async def contact(self, recipient_kind: RecipientKind, recipient_id: str) -> Contact | None:
        """Return how somebody is reached; None if nobody is known by that id, or no address of them is."""
        if recipient_kind is RecipientKind.PAYER:
            request = contacts_pb2.GetContactRequest(payer_id=recipient_id)
        else:
            request = contacts_pb2.GetContactRequest(seller_id=recipient_id)
        found = (await answered(self._stub.GetContact(request), PEER)).contact
        return Contact(addresses=(found.email,), name=found.name, locale=found.locale) if found.email else None
