"""What a front says to people, and in which language: catalogues are those of `services.shared.texts`."""

from __future__ import annotations

from services.shared.texts import DEFAULT, LANGUAGES, Texts

__all__ = ["DEFAULT", "LANGUAGES", "Texts", "language_of"]


def language_of(accepted: str | None, *, otherwise: str = DEFAULT) -> str:
    """Return the first language of an `Accept-Language` header, or of a locale, that we speak."""
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate((accepted or "").split(",")[:10]):
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, tag.strip().lower().replace("_", "-").split("-")[0]))
    return next((language for weight, _, language in sorted(wishes) if language in LANGUAGES and weight), otherwise)
