"""The IANA database is there wherever the service runs: an image without one of its own takes that of `tzdata`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from services.pricing.wire.fields import read_zone

ROOT = Path(__file__).parents[2]
WITHOUT_SYSTEM = """
import zoneinfo
from datetime import UTC, datetime
from services.pricing.wire.fields import read_zone

assert zoneinfo.TZPATH == (), zoneinfo.TZPATH
instant = datetime(2023, 12, 31, 23, 30, tzinfo=UTC)
for name in ("Europe/Zurich", "America/New_York", "Pacific/Kiritimati", "UTC"):
    print(name, instant.astimezone(read_zone(name, field="time_zone")).date())
"""


def test_zones_are_known_on_a_system_that_has_none() -> None:
    environment = os.environ | {"PYTHONTZPATH": "", "PYTHONPATH": str(ROOT)}

    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_SYSTEM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert told.stdout.splitlines() == [
        "Europe/Zurich 2024-01-01",
        "America/New_York 2023-12-31",
        "Pacific/Kiritimati 2024-01-01",
        "UTC 2023-12-31",
    ]


def test_every_zone_that_comes_along_is_known() -> None:
    names = files("tzdata").joinpath("zones").read_text().split()

    assert len(names) > 500
    for name in names:
        if name != "Factory":  # says that nobody chose a zone
            assert read_zone(name, field="time_zone").key == name
