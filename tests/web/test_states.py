"""Every page in every state is rendered in every language, from what the front itself would give the template."""

from __future__ import annotations

import re
from typing import Final

import pytest

from services.web.texts import LANGUAGES
from tests.web.all_states import all_states
from tests.web.rendered import Gallery

STATES: Final = all_states()
GALLERY: Final = Gallery(STATES)


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_rendered_in_every_language(state: str) -> None:
    for language in LANGUAGES:
        page = GALLERY.text(state, language)

        assert page.lower().lstrip().startswith("<!doctype html>")
        assert page.count("<h1") == 1
        assert page.count('role="status"') <= 1
        assert "<script" not in page or page.count('role="status"') == 1, "what a script changes is said"
        assert re.findall(r"\{\w*\}|>None<|\bundefined\b|<[\w.]+ object at", page) == []
        assert re.findall(r'\son\w+="|<script(?![^>]*\ssrc=)[^>]*>\s*\S|\sstyle="', page) == [], "inline code or style"
