"""What the sandbox can do: each operation of Stripe's API it models, with the parameters it models.

A parameter Stripe knows and this table does not name is refused with 501; one Stripe does not know, with 400. A name
with dots stands for a nested parameter; a name without stands for everything below it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import (
    account_links,
    accounts,
    balance_transactions,
    charging,
    checkout,
    confirmation_tokens,
    customers,
    disputes,
    events,
    evidence,
    fees,
    holds,
    hooks,
    intents,
    lifecycle,
    mandates,
    methods,
    payouts,
    radar,
    refunds,
    reversals,
    session_lines,
    sessions,
    setups,
    transfers,
)
from sandbox.errors import not_modelled
from sandbox.world import Object, World

_LIST = "limit starting_after ending_before expand"
_DATED = f"{_LIST} created"


@dataclass(frozen=True, slots=True)
class Operation:
    """One modelled operation; `name` is "verb /path" as in the schema."""

    name: str
    run: Callable[..., Object]
    modelled: frozenset[str]
    pattern: re.Pattern[str] = field(repr=False)
    of_connected: bool = False
    """It also reads what a connected account has of its own, which `Stripe-Account` names."""

    def check_modelled(self, params: dict[str, Any], prefix: str = "") -> None:
        """Refuse parameters Stripe knows and the sandbox does not model."""
        for name, value in params.items():
            path = prefix + name
            if path in self.modelled:
                continue
            inner = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
            if not inner or not any(known.startswith(f"{path}.") for known in self.modelled):
                raise not_modelled(f"the parameter `{path}` of {self.name.upper()}")
            for item in inner:
                self.check_modelled(item, f"{path}.")


def _by_id(object_type: str) -> Callable[..., Object]:
    def retrieve(world: World, _params: dict[str, Any], object_id: str) -> Object:
        return world.get(object_type, object_id)

    return retrieve


def _operation(name: str, run: Callable[..., Object], modelled: str, *, of_connected: bool = False) -> Operation:
    return Operation(name, run, frozenset(modelled.split()), pattern(name), of_connected)


def pattern(name: str) -> re.Pattern[str]:
    """Return what matches "verb /path" of an operation, its ids as groups."""
    return re.compile(f"^{re.sub(r'{[a-z_]+}', '([^/]+)', name)}$")


OPERATIONS = (
    _operation(
        "post /v1/payment_intents",
        intents.create,
        """amount currency customer payment_method confirm capture_method description metadata receipt_email return_url
        off_session on_behalf_of error_on_requires_action setup_future_usage statement_descriptor_suffix transfer_group
        application_fee_amount transfer_data.destination transfer_data.amount automatic_payment_methods use_stripe_sdk
        allowed_payment_method_types excluded_payment_method_types mandate_data expand
        payment_method_options.card.request_extended_authorization payment_method_options.card.request_multicapture""",
    ),
    _operation("get /v1/payment_intents", intents.list_all, f"{_DATED} customer"),
    _operation("get /v1/payment_intents/{intent}", intents.retrieve, "client_secret expand"),
    _operation(
        "post /v1/payment_intents/{intent}",
        intents.update,
        "amount application_fee_amount customer description expand metadata payment_method receipt_email "
        "statement_descriptor_suffix transfer_group",
    ),
    _operation(
        "post /v1/payment_intents/{intent}/confirm",
        checkout.guarded(intents.confirm, verb="confirm"),
        "payment_method confirmation_token return_url off_session error_on_requires_action receipt_email "
        "setup_future_usage use_stripe_sdk mandate_data expand",
    ),
    _operation(
        "post /v1/payment_intents/{intent}/capture",
        holds.capture,
        "amount_to_capture application_fee_amount final_capture transfer_data.amount metadata expand",
    ),
    _operation(
        "post /v1/payment_intents/{intent}/cancel",
        checkout.guarded(lifecycle.cancel, verb="cancel"),
        "cancellation_reason expand",
    ),
    _operation(
        "post /v1/checkout/sessions",
        sessions.create,
        """adaptive_pricing.enabled allowed_payment_method_types cancel_url client_reference_id currency customer
        customer_email excluded_payment_method_types expand expires_at locale metadata mode
        setup_intent_data.description setup_intent_data.metadata submit_type success_url ui_mode
        line_items.metadata line_items.price_data.currency line_items.price_data.product_data.description
        line_items.price_data.product_data.images line_items.price_data.product_data.metadata
        line_items.price_data.product_data.name line_items.price_data.tax_behavior line_items.price_data.unit_amount
        line_items.quantity
        payment_intent_data.application_fee_amount payment_intent_data.capture_method payment_intent_data.description
        payment_intent_data.metadata payment_intent_data.on_behalf_of payment_intent_data.receipt_email
        payment_intent_data.setup_future_usage payment_intent_data.statement_descriptor_suffix
        payment_intent_data.transfer_data payment_intent_data.transfer_group
        payment_method_options.card.request_extended_authorization payment_method_options.card.request_multicapture""",
    ),
    _operation("get /v1/checkout/sessions", sessions.list_all, f"{_DATED} customer payment_intent status"),
    _operation("get /v1/checkout/sessions/{session}", sessions.retrieve, "expand"),
    _operation("post /v1/checkout/sessions/{session}/expire", sessions.expire, "expand"),
    _operation("get /v1/checkout/sessions/{session}/line_items", session_lines.list_all, _LIST),
    _operation(
        "post /v1/setup_intents",
        setups.create,
        """allowed_payment_method_types automatic_payment_methods confirm confirmation_token customer description
        excluded_payment_method_types expand mandate_data metadata payment_method return_url usage use_stripe_sdk""",
    ),
    _operation("get /v1/setup_intents", setups.list_all, f"{_DATED} customer payment_method"),
    _operation("get /v1/setup_intents/{intent}", setups.retrieve, "client_secret expand"),
    _operation("post /v1/setup_intents/{intent}", setups.update, "customer description expand metadata payment_method"),
    _operation(
        "post /v1/setup_intents/{intent}/confirm",
        checkout.guarded(setups.confirm, verb="confirm"),
        "confirmation_token expand mandate_data payment_method return_url use_stripe_sdk",
    ),
    _operation(
        "post /v1/setup_intents/{intent}/cancel",
        checkout.guarded(setups.cancel, verb="cancel"),
        "cancellation_reason expand",
    ),
    _operation(
        "post /v1/test_helpers/confirmation_tokens",
        confirmation_tokens.create,
        "payment_method return_url setup_future_usage expand",
    ),
    _operation("get /v1/confirmation_tokens/{confirmation_token}", confirmation_tokens.retrieve, "expand"),
    _operation("get /v1/mandates/{mandate}", mandates.retrieve, "expand"),
    _operation("get /v1/charges", charging.list_charges, f"{_DATED} customer payment_intent transfer_group"),
    _operation("get /v1/charges/{charge}", _by_id("charge"), "expand"),
    _operation("post /v1/charges/{charge}", charging.update, "description metadata receipt_email expand"),
    _operation(
        "post /v1/refunds",
        refunds.create,
        "amount charge payment_intent metadata reason refund_application_fee reverse_transfer expand",
    ),
    _operation("get /v1/refunds", refunds.list_all, f"{_DATED} charge payment_intent"),
    _operation("get /v1/refunds/{refund}", refunds.retrieve, "expand"),
    _operation("post /v1/refunds/{refund}", refunds.update, "metadata expand"),
    _operation(
        "post /v1/customers",
        customers.create,
        "address description email metadata name phone preferred_locales expand",
    ),
    _operation("get /v1/customers", customers.list_all, f"{_DATED} email"),
    _operation("get /v1/customers/{customer}", customers.retrieve, "expand"),
    _operation(
        "post /v1/customers/{customer}",
        customers.update,
        "address description email invoice_settings.default_payment_method metadata name phone preferred_locales "
        "expand",
    ),
    _operation("delete /v1/customers/{customer}", customers.delete, ""),
    _operation("get /v1/customers/{customer}/payment_methods", methods.list_of_customer, f"{_LIST} type"),
    _operation("get /v1/payment_methods", methods.list_all, f"{_LIST} customer type"),
    _operation("get /v1/payment_methods/{payment_method}", methods.retrieve, "expand"),
    _operation(
        "post /v1/payment_methods/{payment_method}",
        methods.update,
        "allow_redisplay billing_details card.exp_month card.exp_year expand metadata",
    ),
    _operation("post /v1/payment_methods/{payment_method}/attach", methods.attach, "customer expand"),
    _operation("post /v1/payment_methods/{payment_method}/detach", methods.detach, "expand"),
    _operation(
        "post /v1/accounts",
        accounts.create,
        """business_profile.mcc business_profile.name business_profile.url business_profile.product_description
        business_type capabilities controller country default_currency email metadata type expand""",
    ),
    _operation("get /v1/accounts", accounts.list_all, _DATED),
    _operation("get /v1/account", accounts.retrieve_own, "expand"),
    _operation("get /v1/accounts/{account}", accounts.retrieve, "expand"),
    _operation(
        "post /v1/accounts/{account}",
        accounts.update,
        """business_profile.mcc business_profile.name business_profile.url business_profile.product_description
        business_type email metadata expand""",
    ),
    _operation(
        "post /v1/account_links",
        account_links.create,
        "account collection_options.fields collection_options.future_requirements expand refresh_url return_url type",
    ),
    _operation(
        "post /v1/payouts",
        payouts.create,
        "amount currency description expand metadata method statement_descriptor",
    ),
    _operation("get /v1/payouts", payouts.list_all, f"{_DATED} arrival_date status", of_connected=True),
    _operation("post /v1/payouts/{payout}", payouts.update, "expand metadata"),
    _operation("post /v1/payouts/{payout}/cancel", payouts.cancel, "expand"),
    _operation("get /v1/payouts/{payout}", _by_id("payout"), "expand", of_connected=True),
    _operation("get /v1/balance", balance_transactions.balance, "expand", of_connected=True),
    _operation(
        "get /v1/balance_transactions",
        balance_transactions.list_all,
        f"{_DATED} currency payout source type",
        of_connected=True,
    ),
    _operation("get /v1/balance_transactions/{id}", _by_id("balance_transaction"), "expand", of_connected=True),
    _operation(
        "post /v1/transfers",
        transfers.create,
        "amount currency description destination expand metadata source_transaction transfer_group",
    ),
    _operation("get /v1/transfers", transfers.list_all, f"{_DATED} destination transfer_group"),
    _operation("get /v1/transfers/{transfer}", _by_id("transfer"), "expand"),
    _operation("post /v1/transfers/{transfer}", transfers.update, "description expand metadata"),
    _operation("post /v1/transfers/{id}/reversals", reversals.create, "amount description expand metadata"),
    _operation("get /v1/transfers/{id}/reversals", reversals.list_all, _LIST),
    _operation("get /v1/transfers/{transfer}/reversals/{id}", reversals.retrieve, "expand"),
    _operation("post /v1/transfers/{transfer}/reversals/{id}", reversals.update, "expand metadata"),
    _operation("get /v1/application_fees", fees.list_all, f"{_DATED} charge"),
    _operation("get /v1/application_fees/{id}", _by_id("application_fee"), "expand"),
    _operation("post /v1/application_fees/{id}/refunds", fees.create_refund, "amount expand metadata"),
    _operation("get /v1/application_fees/{id}/refunds", fees.list_refunds, _LIST),
    _operation("get /v1/application_fees/{fee}/refunds/{id}", fees.retrieve_refund, "expand"),
    _operation("post /v1/application_fees/{fee}/refunds/{id}", fees.update_refund, "expand metadata"),
    _operation("get /v1/disputes", disputes.list_all, f"{_DATED} charge payment_intent"),
    _operation("get /v1/disputes/{dispute}", _by_id("dispute"), "expand"),
    _operation(
        "post /v1/disputes/{dispute}",
        evidence.update,
        f"metadata submit expand {' '.join(f'evidence.{name}' for name in (*disputes.TEXTS, *disputes.FILES))}",
    ),
    _operation("post /v1/disputes/{dispute}/close", evidence.close, "expand"),
    _operation("get /v1/radar/early_fraud_warnings", radar.list_warnings, f"{_DATED} charge payment_intent"),
    _operation("get /v1/radar/early_fraud_warnings/{early_fraud_warning}", _by_id(radar.WARNING), "expand"),
    _operation("get /v1/reviews", radar.list_reviews, _DATED),
    _operation("get /v1/reviews/{review}", _by_id("review"), "expand"),
    _operation("post /v1/reviews/{review}/approve", radar.approve, "expand"),
    _operation("get /v1/events", events.list_all, f"{_DATED} delivery_success type types", of_connected=True),
    _operation("get /v1/events/{id}", events.retrieve, "expand", of_connected=True),
    _operation(
        "post /v1/webhook_endpoints",
        hooks.create,
        "api_version connect description enabled_events metadata url expand",
    ),
    _operation("get /v1/webhook_endpoints", hooks.list_all, _LIST),
    _operation("get /v1/webhook_endpoints/{webhook_endpoint}", hooks.retrieve, "expand"),
    _operation("delete /v1/webhook_endpoints/{webhook_endpoint}", hooks.delete, ""),
)
