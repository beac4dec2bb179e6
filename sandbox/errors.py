"""What Stripe answers when it refuses: one exception with the fields of Stripe's error object."""

from typing import Any


class ApiError(Exception):
    """A refusal as Stripe words it: HTTP `status`, error `type` and `code`, the `param` at fault, further fields."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers or {}
        self.fields = fields

    def body(self, *, request_id: str) -> dict[str, Any]:
        """Return the answer's body; absent fields are left out, as Stripe does."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": error | {name: value for name, value in self.fields.items() if value is not None}}


def not_modelled(what: str) -> ApiError:
    """Return the 501 for something Stripe knows and the sandbox does not: never a canned success."""
    return ApiError(f"The sandbox does not model {what}.", status=501, type="api_error", code="sandbox_not_modelled")


def missing(kind: str, object_id: str, *, param: str, status: int = 400) -> ApiError:
    """Return `resource_missing`: 404 for the id in the path, 400 for an id a parameter refers to."""
    return ApiError(f"No such {kind}: '{object_id}'", status=status, code="resource_missing", param=param)


def named(kind: str) -> str:
    """Return what Stripe's messages call a kind of object: `setup_intent` is a SetupIntent."""
    return kind.title().replace("_", "")


def unexpected_state(message: str, *, intent: dict[str, Any]) -> ApiError:
    """Return the refusal of a call the status of a payment or setup does not allow; the answer carries it."""
    kind = intent["object"]
    refusal = ApiError(message, code=f"{kind}_unexpected_state")
    refusal.fields[kind] = intent
    return refusal
