"""All services of the gateway behind one name, as tests call them."""

from __future__ import annotations

from grpc import aio

from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.diagnosis_pb2_grpc import DiagnosisServiceStub
from batzen.gateway.v1.disputes_pb2_grpc import DisputeServiceStub
from batzen.gateway.v1.imports_pb2_grpc import ImportServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.payment_methods_pb2_grpc import PaymentMethodServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceStub
from batzen.gateway.v1.transfers_pb2_grpc import TransferServiceStub


class GatewayStubs(
    CheckoutServiceStub,
    ContactServiceStub,
    DiagnosisServiceStub,
    DisputeServiceStub,
    ImportServiceStub,
    IntentServiceStub,
    PaymentMethodServiceStub,
    RefundServiceStub,
    SellerServiceStub,
    TransferServiceStub,
):
    """The RPCs of the gateway's services that are implemented."""

    def __init__(self, channel: aio.Channel) -> None:
        for stub in GatewayStubs.__bases__:
            stub.__init__(self, channel)
