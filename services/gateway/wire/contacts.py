"""Contacts in the contract."""

from __future__ import annotations

from batzen.gateway.v1 import contacts_pb2
from services.gateway.contacts.domain import Contact


def contact_response(found: Contact | None) -> contacts_pb2.GetContactResponse:
    """Return the message of a contact, or of nobody."""
    if found is None:
        return contacts_pb2.GetContactResponse()
    return contacts_pb2.GetContactResponse(
        contact=contacts_pb2.Contact(email=found.email, name=found.name, locale=found.locale)
    )
