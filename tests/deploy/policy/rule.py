"""How a rule is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.deploy.manifests import Manifests

Rule = Callable[[Manifests], Iterator[str]]

RULES: Final[dict[str, Rule]] = {}
"""All rules, by their name."""


def rule(function: Rule) -> Rule:
    """Add a rule."""
    assert function.__name__ not in RULES
    RULES[function.__name__] = function
    return function
