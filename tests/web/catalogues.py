"""Whether all languages of a catalogue have the same texts with the same values in them."""

from __future__ import annotations

from services.web.texts import DEFAULT, LANGUAGES, Texts


def differences(texts: Texts) -> list[str]:
    """Return where a language differs from the default; empty if none does."""
    expected = texts.keys(DEFAULT)
    found = []
    for language in LANGUAGES:
        keys = texts.keys(language)
        found += [f"{language}: {key} is missing" for key in expected - keys]
        found += [f"{language}: {key} is in no other" for key in keys - expected]
        for key in keys & expected:
            wanted, has = texts.placeholders(DEFAULT, key), texts.placeholders(language, key)
            found += [f"{language}: {key} wants {name}" for name in wanted ^ has]
    return sorted(found)
