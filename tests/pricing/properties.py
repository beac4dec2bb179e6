"""Properties: what holds for whatever hypothesis draws; a hundred examples in every run, many in a soak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

EXAMPLES: Final = 100
MORE_EXAMPLES: Final = 600
SOAK_EXAMPLES: Final = 10_000


def holds_for(**drawn: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a function that asserts something of what it is given; `make test` draws few, `make soak` many."""

    def make(body: Callable[..., None]) -> Callable[..., None]:
        def test(check: Callable[[], None]) -> None:
            check()

        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
        test.__module__ = body.__module__
        few = pytest.param(_check(body, drawn, examples=EXAMPLES), id="few")
        more = pytest.param(_check(body, drawn, examples=MORE_EXAMPLES), id="more", marks=pytest.mark.faults)
        many = pytest.param(_check(body, drawn, examples=SOAK_EXAMPLES), id="many", marks=pytest.mark.soak)
        return pytest.mark.parametrize("check", [few, more, many])(test)

    return make


def _check(body: Callable[..., None], drawn: dict[str, SearchStrategy[Any]], *, examples: int) -> Callable[[], None]:
    # How long an example takes says more about who else uses the machine than about the code.
    of = settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    return of(given(**drawn)(body))
