"""SetupIntents: a payment method is kept for later and nothing is taken.

Marked (U): what Stripe's documentation does not say and nobody here could ask it.
"""

from collections.abc import Iterable
from typing import Any

from sandbox import banks, challenge, confirmation_tokens, intents, mandates, methods, outcomes
from sandbox.answers import page
from sandbox.errors import ApiError, unexpected_state
from sandbox.world import Object, World, merge_metadata, snapshot

_KIND = "setup_intent"
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_UPDATABLE_ALWAYS = frozenset({"description", "metadata"})
_CLIENT_SECRET_LENGTH = 25
_ATTEMPT_LENGTH = 24


def create(world: World, params: dict[str, Any]) -> Object:
    """Create a setup and, with `confirm`, confirm it: a decline is a 402 and leaves the setup behind."""
    confirm_now = params.get("confirm", False)
    if "return_url" in params and not confirm_now:
        raise ApiError("The parameter `return_url` is only allowed together with `confirm=true`.", param="return_url")
    if "customer" in params:
        world.referred("customer", params["customer"], param="customer")
    automatic = intents.automatic_methods(params)
    if confirm_now:
        challenge.check_return_url(automatic, params, of=_KIND)
    method = confirmation_tokens.chosen(world, params, customer_id=params.get("customer"), intent_id=None, of=_KIND)
    if confirm_now and method is None:
        raise ApiError(
            "You cannot confirm this SetupIntent because it's missing a payment method. To confirm the SetupIntent "
            "with `confirm=true`, specify a payment method or a ConfirmationToken.",
            param="payment_method",
        )
    setup = world.add(_new(world, params, automatic=automatic, method=method))
    world.emit("setup_intent.created", setup)
    if confirm_now:
        _confirm(world, setup, params)
    return setup


def retrieve(world: World, params: dict[str, Any], setup_id: str) -> Object:
    setup = world.get(_KIND, setup_id, param="intent")
    if "client_secret" in params and params["client_secret"] != setup["client_secret"]:
        raise ApiError("The client_secret provided does not match the SetupIntent.", param="client_secret")
    return setup


def update(world: World, params: dict[str, Any], setup_id: str) -> Object:
    """Change a setup; once it has ended only metadata and description may change."""
    setup = world.get(_KIND, setup_id, param="intent")
    if setup["status"] not in _OPEN and not _UPDATABLE_ALWAYS.issuperset(params):
        raise unexpected_state(
            f"This SetupIntent could not be updated because it has a status of {setup['status']}.", intent=setup
        )
    if "customer" in params:
        world.referred("customer", params["customer"], param="customer")
    before, customer_id = setup["customer"], params.get("customer", setup["customer"])
    method = methods.chosen(world, params, customer_id=customer_id, of=_KIND)
    metadata = merge_metadata(setup["metadata"], params.get("metadata", {}))
    setup.update(customer=customer_id, metadata=metadata)
    if "description" in params:
        setup["description"] = params["description"] or None
    if before != customer_id:
        world.reindex(setup, field="customer", before=before)
    if method is not None:
        # A new payment method has to be confirmed again, whatever was begun with the old one.
        setup.update(payment_method=method["id"], status="requires_confirmation", next_action=None)
    return setup


def confirm(world: World, params: dict[str, Any], setup_id: str) -> Object:
    setup = world.get(_KIND, setup_id, param="intent")
    if setup["status"] not in _OPEN:
        raise unexpected_state(
            f"You cannot confirm this SetupIntent because it has a status of {setup['status']}.",
            intent=snapshot(setup),
        )
    challenge.check_return_url(setup["automatic_payment_methods"], params, of=_KIND)
    method = confirmation_tokens.chosen(world, params, customer_id=setup["customer"], intent_id=setup_id, of=_KIND)
    if method is not None:
        setup["payment_method"] = method["id"]
    elif setup["payment_method"] is None:
        raise unexpected_state(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a "
            "payment method and then confirm it again.",
            intent=snapshot(setup),
        )
    else:
        kept = world.get("payment_method", setup["payment_method"])
        methods.check_usable(world, kept, customer_id=setup["customer"], of=_KIND)
    _confirm(world, setup, params)
    return setup


def cancel(world: World, params: dict[str, Any], setup_id: str) -> Object:
    setup = world.get(_KIND, setup_id, param="intent")
    if setup["status"] not in _OPEN:
        raise unexpected_state(
            f"You cannot cancel this SetupIntent because it has a status of {setup['status']}. Only a SetupIntent with "
            f"one of the following statuses may be canceled: {', '.join(_OPEN)}.",
            intent=snapshot(setup),
        )
    setup.update(status="canceled", cancellation_reason=params.get("cancellation_reason"), next_action=None)
    world.emit("setup_intent.canceled", setup)
    return setup


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all(_KIND)
    if "customer" in params:
        found = world.by_field(_KIND, field="customer", value=params["customer"])
    wanted = params.get("payment_method")
    return page(found, params, url="/v1/setup_intents", keep=lambda setup: wanted in (None, setup["payment_method"]))


def authenticate(world: World, setup: Object, *, succeed: bool) -> None:
    """Finish 3-D Secure. A decline after it is recorded, not raised: nobody is waiting for an API answer."""
    challenge.check_asked(setup)
    method = world.get("payment_method", setup["payment_method"])
    setup["next_action"] = None
    if not succeed:
        _fail(world, setup, challenge.failure(setup, method))
        return
    decline = methods.refusal(world, method, charged=False)
    if decline is not None:
        _fail(world, setup, outcomes.refused(None, method, decline))
        return
    _succeed(world, setup, method)


def _confirm(world: World, setup: Object, params: dict[str, Any]) -> None:
    """Confirm with the setup's payment method; raises the 402 of a decline after recording it."""
    if setup["customer"] is not None:
        world.referred("customer", setup["customer"], param="customer")  # it may have been deleted since
    method = world.get("payment_method", setup["payment_method"])
    banks.check_fits(setup, world.cards[method["id"]])
    mandates.ensure(world, setup, method, params, reusable=True)
    setup.update(latest_attempt=f"setatt_{world.token(_ATTEMPT_LENGTH)}", last_setup_error=None)
    if challenge.is_due(world, method, off_session=False):
        challenge.ask(world, setup, params)
        return
    decline = methods.refusal(world, method, charged=False)
    if decline is not None:
        _fail(world, setup, outcomes.refused(None, method, decline))
        raise methods.declined(decline, setup_intent=snapshot(setup), payment_method=snapshot(method))
    _succeed(world, setup, method)


def _succeed(world: World, setup: Object, method: Object) -> None:
    setup.update(status="succeeded", last_setup_error=None, next_action=None, mandate=world.mandates.get(method["id"]))
    if setup["usage"] == "off_session":
        world.set_up.add(method["id"])
    if setup["customer"] is not None:
        methods.save(world, method, customer_id=setup["customer"])
    world.emit("setup_intent.succeeded", setup)


def _fail(world: World, setup: Object, error: Object) -> None:
    """It is the payer's turn again; the payment method is cleared, as a payment's is (U)."""
    setup.update(status="requires_payment_method", payment_method=None, next_action=None, last_setup_error=error)
    world.emit("setup_intent.setup_failed", setup)


def _new(world: World, params: dict[str, Any], *, automatic: Object, method: Object | None) -> Object:
    setup_id = world.new_id(_KIND)
    allowed, excluded = params.get("allowed_payment_method_types"), params.get("excluded_payment_method_types")
    return {
        "id": setup_id,
        "object": _KIND,
        "allowed_payment_method_types": allowed,
        "application": None,
        "attach_to_self": False,
        "automatic_payment_methods": automatic,
        "cancellation_reason": None,
        "client_secret": f"{setup_id}_secret_{world.token(_CLIENT_SECRET_LENGTH)}",
        "created": world.clock.seconds(),
        "customer": params.get("customer"),
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": excluded,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "mandate": None,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": method["id"] if method else None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": banks.kinds_kept(allowed=allowed, excluded=excluded or ()),
        "single_use_mandate": None,
        "status": "requires_confirmation" if method else "requires_payment_method",
        "usage": params.get("usage", "off_session"),
    }
