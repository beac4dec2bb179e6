"""All services of the gateway for callers, as one server answers them."""

from __future__ import annotations

from dataclasses import dataclass

from grpc import aio

from batzen.gateway.v1.checkout_pb2_grpc import add_CheckoutServiceServicer_to_server
from batzen.gateway.v1.contacts_pb2_grpc import add_ContactServiceServicer_to_server
from batzen.gateway.v1.diagnosis_pb2_grpc import add_DiagnosisServiceServicer_to_server
from batzen.gateway.v1.disputes_pb2_grpc import add_DisputeServiceServicer_to_server
from batzen.gateway.v1.imports_pb2_grpc import add_ImportServiceServicer_to_server
from batzen.gateway.v1.intents_pb2_grpc import add_IntentServiceServicer_to_server
from batzen.gateway.v1.payment_methods_pb2_grpc import add_PaymentMethodServiceServicer_to_server
from batzen.gateway.v1.refunds_pb2_grpc import add_RefundServiceServicer_to_server
from batzen.gateway.v1.sellers_pb2_grpc import add_SellerServiceServicer_to_server
from batzen.gateway.v1.transfers_pb2_grpc import add_TransferServiceServicer_to_server
from services.gateway.servicers.checkout import CheckoutServicer
from services.gateway.servicers.contacts import ContactServicer
from services.gateway.servicers.diagnosis import DiagnosisServicer
from services.gateway.servicers.disputes import DisputeServicer
from services.gateway.servicers.imports import ImportServicer
from services.gateway.servicers.intents import IntentServicer
from services.gateway.servicers.payment_methods import PaymentMethodServicer
from services.gateway.servicers.refunds import RefundServicer
from services.gateway.servicers.sellers import SellerServicer
from services.gateway.servicers.transfers import TransferServicer


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayServicers:
    """One servicer for each service of which something is built."""

    intents: IntentServicer
    checkout: CheckoutServicer
    payment_methods: PaymentMethodServicer
    refunds: RefundServicer
    disputes: DisputeServicer
    sellers: SellerServicer
    transfers: TransferServicer
    diagnosis: DiagnosisServicer
    contacts: ContactServicer
    imports: ImportServicer


def add_gateway_services(servicers: GatewayServicers, server: aio.Server) -> None:
    """Have a server answer the calls of all of them."""
    add_IntentServiceServicer_to_server(servicers.intents, server)
    add_CheckoutServiceServicer_to_server(servicers.checkout, server)
    add_PaymentMethodServiceServicer_to_server(servicers.payment_methods, server)
    add_RefundServiceServicer_to_server(servicers.refunds, server)
    add_DisputeServiceServicer_to_server(servicers.disputes, server)
    add_SellerServiceServicer_to_server(servicers.sellers, server)
    add_TransferServiceServicer_to_server(servicers.transfers, server)
    add_DiagnosisServiceServicer_to_server(servicers.diagnosis, server)
    add_ContactServiceServicer_to_server(servicers.contacts, server)
    add_ImportServiceServicer_to_server(servicers.imports, server)
