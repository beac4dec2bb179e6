"""What one payment of the demo is, and what is played with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from local.player import Player
from local.start import Start
from sandbox.control import SandboxControl

ABANDONED_AFTER_S: Final = 8
"""24 hours in earnest. Longer than any payment of the demo takes between two signs of life, also on a slow machine."""
AT_ONCE: Final = Start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One payment of the demo."""

    title: str
    name: str = ""
    """What `batzen trigger` calls it; empty where it is not for a suite that others use, too."""
    amount: str
    wanted: tuple[str, ...]
    """States it has to go through, in this order; the last is its end."""
    play: Callable[[Player], Awaitable[None]] | None = None
    play_with: Callable[[Player, SandboxControl], Awaitable[None]] | None = None
    """Instead of `play`, where something has to be done at Stripe itself, which only the stand-in lets one do."""
    start: Start = AT_ONCE
    needs_stand_in: bool = False
    """A page of the payer's bank or of Stripe's is completed by us, which only the stand-in's lets one do."""
    is_slow: bool = False
    """Begins before the others and is looked at after them."""
    moves_clock: bool = False
    """Moves the stand-in's clock, which all payments share: it is played when the others are over."""

    @property
    def is_of_stand_in(self) -> bool:
        """Whether it can be played with the stand-in alone."""
        return self.needs_stand_in or self.play_with is not None

    async def played(self, player: Player, stand_in: SandboxControl | None) -> None:
        """Play it. Raises LookupError for one that needs the stand-in, and there is none."""
        if self.play is not None:
            await self.play(player)
        if self.play_with is not None:
            if stand_in is None:
                raise LookupError("this needs the stand-in")
            await self.play_with(player, stand_in)
