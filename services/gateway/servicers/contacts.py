"""ContactService: says and keeps how somebody is reached."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import contacts_pb2
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceServicer
from services.errors import FieldMissing
from services.gateway.contacts.payers import PayerContacts
from services.gateway.customers.operations import Customers
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.tenants import served_tenant
from services.gateway.wire.contacts import contact_response
from services.gateway.wire.payment_methods import person_of
from services.shared import fields


class ContactServicer(ContactServiceServicer):
    """Answers how people are reached, and hears it."""

    def __init__(self, *, payers: PayerContacts, customers: Customers, sellers: Sellers, tenant_id: str) -> None:
        self._payers = payers
        self._customers = customers
        self._sellers = sellers
        self._tenant_id = tenant_id

    async def GetContact(
        self, request: contacts_pb2.GetContactRequest, context: aio.ServicerContext[Any, Any]
    ) -> contacts_pb2.GetContactResponse:
        """Return how a payer or a seller is reached."""
        tenant_id = served_tenant(self._tenant_id)
        match request.WhichOneof("recipient"):
            case "payer_id":
                payer_id = fields.identifier(request.payer_id, field="payer_id")
                return contact_response(await self._payers.contact(tenant_id, payer_id))
            case "seller_id":
                seller_id = fields.identifier(request.seller_id, field="seller_id")
                return contact_response(await self._sellers.contact(tenant_id, seller_id))
        raise FieldMissing(field="recipient")

    async def PutContact(
        self, request: contacts_pb2.PutContactRequest, context: aio.ServicerContext[Any, Any]
    ) -> contacts_pb2.PutContactResponse:
        """Keep how a payer is reached."""
        payer = person_of(request.payer)
        await self._customers.named_again(
            served_tenant(self._tenant_id), payer.payer_id, email=payer.email, name=payer.name, locale=payer.locale
        )
        return contacts_pb2.PutContactResponse()
