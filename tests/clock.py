"""The clock of a test: it goes on by itself, and a test moves it on."""

from __future__ import annotations

from datetime import timedelta

from services.runtime.process import clock


class Clock(clock.Clock):
    """Leases, due times and tokens go by it; also in the database, by its shift."""

    def advance(self, by: timedelta) -> None:
        self.shift += by
