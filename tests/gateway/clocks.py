"""Two clocks, ours and the stand-in's, that tests move on, and that no test finds far apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sandbox.control import SandboxControl
from services.runtime.process.clock import Clock

APART_MAX_S: Final = 1.0
"""As far as clocks of two real machines may be apart."""


async def level(clock: Clock, stripe: SandboxControl) -> None:
    """Move on the clock that is behind to where the other one is: neither of them goes back."""
    ahead_s = clock.now().timestamp() - await stripe.now()
    if ahead_s > APART_MAX_S:
        await stripe.advance(ahead_s)
    elif ahead_s < -APART_MAX_S:
        clock.shift -= timedelta(seconds=ahead_s)
