"""The contracts hold what the code does, and nothing of the code is missing in them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import services
from batzen.cli.changing import REASONS
from batzen.gateway.v1 import (
    checkout_pb2_grpc,
    contacts_pb2_grpc,
    diagnosis_pb2_grpc,
    disputes_pb2_grpc,
    imports_pb2_grpc,
    intents_pb2_grpc,
    observation_pb2_grpc,
    payment_methods_pb2_grpc,
    refunds_pb2_grpc,
    sellers_pb2_grpc,
    transfers_pb2_grpc,
)
from batzen.gateway.v1 import ops_pb2_grpc as gateway_ops_pb2_grpc
from batzen.gateway.v1.refunds_pb2 import CreateRefundRequest
from batzen.orchestrator.v1 import notifications_pb2_grpc, orchestrator_pb2_grpc
from batzen.orchestrator.v1 import ops_pb2_grpc as orchestrator_ops_pb2_grpc
from batzen.orchestrator.v1.orchestrator_pb2 import RefundPaymentRequest
from batzen.pricing.v1 import pricing_pb2_grpc
from batzen.status.v1 import status_pb2_grpc
from services.access import TABLE
from services.errors import CardNumberRefused, ServiceError
from services.gateway.wire.requests import REFUND_REASONS
from services.orchestrator.commands.command import Command
from tests.contracts import COMMON_BELOW, reasons_of

PACKAGES = ("orchestrator", "pricing", "status", "gateway")

ANNOUNCED: dict[str, str] = {}
"""What is in the contracts and answers UNIMPLEMENTED. This list only shrinks."""

GENERATED = {
    "OrchestratorService": orchestrator_pb2_grpc.OrchestratorServiceServicer,
    "OrchestratorOpsService": orchestrator_ops_pb2_grpc.OrchestratorOpsServiceServicer,
    "NotificationService": notifications_pb2_grpc.NotificationServiceServicer,
    "StatusService": status_pb2_grpc.StatusServiceServicer,
    "PricingService": pricing_pb2_grpc.PricingServiceServicer,
    "IntentService": intents_pb2_grpc.IntentServiceServicer,
    "CheckoutService": checkout_pb2_grpc.CheckoutServiceServicer,
    "RefundService": refunds_pb2_grpc.RefundServiceServicer,
    "PaymentMethodService": payment_methods_pb2_grpc.PaymentMethodServiceServicer,
    "SellerService": sellers_pb2_grpc.SellerServiceServicer,
    "TransferService": transfers_pb2_grpc.TransferServiceServicer,
    "DisputeService": disputes_pb2_grpc.DisputeServiceServicer,
    "DiagnosisService": diagnosis_pb2_grpc.DiagnosisServiceServicer,
    "GatewayOpsService": gateway_ops_pb2_grpc.GatewayOpsServiceServicer,
    "ContactService": contacts_pb2_grpc.ContactServiceServicer,
    "ImportService": imports_pb2_grpc.ImportServiceServicer,
    "GatewayEventSinkService": observation_pb2_grpc.GatewayEventSinkServiceServicer,
}

# Reasons of RPCs that are announced: no class raises them yet. This shrinks with the list above.
ANNOUNCED_REASONS = {
    "orchestrator": "",
    "status": "",
    "gateway": "PAYMENT_NOT_FOUND",  # the sink's, which the orchestrator implements
    "pricing": "FEATURE_NOT_AVAILABLE",  # retired
}


def test_every_rpc_is_implemented_or_announced() -> None:
    implemented: dict[str, set[str]] = {name: set() for name in GENERATED}
    for servicer in servicers():
        for name, generated in GENERATED.items():
            if issubclass(servicer, generated):
                implemented[name] |= {
                    method
                    for method in methods_of(generated)
                    if getattr(servicer, method) is not getattr(generated, method)
                }

    # The orchestrator's commands become RPCs of their names when its servicer is made.
    implemented["OrchestratorService"] |= {kind.request_type.__name__.removesuffix("Request") for kind in commands()}

    missing = {name: set(methods_of(generated)) - set(implemented[name]) for name, generated in GENERATED.items()}

    assert {name: gone for name, gone in missing.items() if gone} == {
        name: set(methods.split()) for name, methods in ANNOUNCED.items()
    }


def test_every_rpc_has_a_rule_of_access() -> None:
    methods = {method.rpartition(".")[2] for method in TABLE}

    assert methods == {f"{name}/{method}" for name, generated in GENERATED.items() for method in methods_of(generated)}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_reason_that_a_service_raises_is_in_its_contract(package: str) -> None:
    raised = {error.reason for error in errors_of(package)}

    assert raised | {error.reason for error in errors_of("errors")} <= set(reasons_of(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_reason_of_a_contract_is_raised_or_announced(package: str) -> None:
    own = {reason for reason, number in reasons_of(package).items() if number >= COMMON_BELOW}
    raised = {error.reason for error in [*errors_of(package), CardNumberRefused]}

    assert own - raised == set(ANNOUNCED_REASONS[package].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_common_reasons_have_the_same_numbers_everywhere(package: str) -> None:
    common = {reason: number for reason, number in reasons_of(package).items() if number < COMMON_BELOW}

    assert (
        common.items()
        <= {reason: number for reason, number in reasons_of("orchestrator").items() if number < COMMON_BELOW}.items()
    )


def test_a_refund_reason_is_the_same_for_caller_gateway_stripe_and_operator() -> None:
    reasons = dict(RefundPaymentRequest.Reason.items())

    assert reasons == dict(CreateRefundRequest.Reason.items())  # passed on by name
    assert set(REFUND_REASONS) == set(reasons.values())
    assert set(REASONS.values()) == set(reasons.values()) - {RefundPaymentRequest.REASON_UNSPECIFIED}


def methods_of(generated: type) -> list[str]:
    return [name for name, value in vars(generated).items() if inspect.isfunction(value)]


def commands() -> list[type[Command[Any, Any]]]:
    return [kind for kind in Command.__subclasses__() if kind.__module__.startswith("services.")]


def servicers() -> Iterator[type]:
    for module in modules("services"):
        for _, value in inspect.getmembers(module, inspect.isclass):
            if value.__module__ == module.__name__ and value.__name__.endswith("Servicer"):
                yield value


def errors_of(package: str) -> set[type[ServiceError]]:
    """Return the errors that a service declares, each with a reason of its own."""
    found = set()
    for module in modules(f"services.{package}"):
        for _, value in inspect.getmembers(module, inspect.isclass):
            is_own = value.__module__ == module.__name__ and issubclass(value, ServiceError)
            if is_own and isinstance(vars(value).get("reason"), str):
                found.add(value)
    return found


def modules(prefix: str) -> Iterator[object]:
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.startswith(prefix) and not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)
