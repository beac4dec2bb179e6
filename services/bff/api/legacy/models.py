"""What `/api/payments` takes. Fields that are not known are passed over, as they always were, except by a refund."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from services.bff.api.reading import said

Text = Annotated[str, Field(max_length=200)]
Id = Annotated[str, Field(max_length=128)]
Url = Annotated[str, Field(max_length=2000)]


class Body(BaseModel):
    """A body of an old client."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class CreateIntent(Body):
    """A booking that is to be paid for. Price, payer and seller are named by a service alone."""

    booking_id: Annotated[str, Field(min_length=1, max_length=128)]
    price: dict[str, object] | None = Field(
        default=None, description="A claim: read exactly, compared with the quote, and never charged as sent."
    )
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    user_id: Id = ""
    coach_id: Id = ""
    email: Text = ""
    name: Text = ""
    locale: Annotated[str, Field(max_length=35)] = ""
    session_type: Annotated[str, Field(max_length=64)] = ""
    session_name: Text = ""


class CreateCheckoutSession(CreateIntent):
    """The same on a page of Stripe's."""

    success_url: Url = ""
    cancel_url: Url = ""


class Named(Body):
    """A payment by one of the names that old clients have for it."""

    payment_id: Id = ""
    payment_intent_id: Id = ""
    booking_id: Id = ""


class Confirm(Named):
    """With what a payment is paid."""

    payment_method_id: Id = ""
    confirmation_token_id: Id = ""
    return_url: Url = ""
    save_payment_method: bool = False
    amount_minor: Annotated[int | None, Field(strict=True, ge=0, lt=2**63)] = Field(
        default=None, description="What the payer was shown, as `create-intent` said it; another is `PRICE_CHANGED`."
    )
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


class Refund(Named):
    """What goes back. A field that is not known is refused: it may have said how much, and without it all goes back."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[int | Decimal | str | SkipJsonSchema[None], BeforeValidator(said)] = Field(
        default=None, description="In major units, as 60 or 60.50; all that is refundable, where it is not set."
    )
    reason: Text = ""


class Method(Body):
    """A way to pay."""

    payment_method_id: Annotated[str, Field(min_length=1, max_length=128)]
    user_id: Id = ""
