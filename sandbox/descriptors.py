"""What a payer's statement shows of a card charge: the platform's prefix, and behind it what the charge says.

Stripe's limits as its documents have them; the words of the refusals are ours (U).
"""

from typing import Any

from sandbox.errors import ApiError

PREFIX = "BATZEN"
_CHARACTERS_MAX = 22
_FORBIDDEN = frozenset("<>\\'\"*")
_SUFFIX = "statement_descriptor_suffix"


def shown(suffix: str | None) -> str:
    """Return the whole descriptor."""
    return PREFIX if not suffix else f"{PREFIX}* {suffix}"


def check(params: dict[str, Any], *, within: str = "") -> None:
    """Refuse a suffix that Stripe does not take; `within` names what the parameter stands in."""
    suffix = params.get(_SUFFIX)
    if not suffix:
        return
    param = f"{within}[{_SUFFIX}]" if within else _SUFFIX
    if len(shown(suffix)) > _CHARACTERS_MAX:
        raise ApiError(f"The statement descriptor must be at most {_CHARACTERS_MAX} characters.", param=param)
    if _FORBIDDEN.intersection(suffix) or not suffix.isascii():
        raise ApiError("The statement descriptor suffix contains characters that are not allowed.", param=param)
    if not any(letter.isalpha() for letter in suffix):
        raise ApiError("The statement descriptor suffix must contain at least one letter.", param=param)
