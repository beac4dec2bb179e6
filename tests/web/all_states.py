"""Every page in every state. A room of pages adds a module of `states/` with its `STATES`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.web.state import State

FOLDER: Final = Path(__file__).parent / "states"


def all_states() -> Mapping[str, State]:
    """Return all states by name. ValueError for a name that two rooms use."""
    found: dict[str, State] = {}
    for file in sorted(FOLDER.glob("*.py")):
        states: Mapping[str, State] = importlib.import_module(f"tests.web.states.{file.stem}").STATES
        if twice := found.keys() & states.keys():
            raise ValueError(f"two rooms have states named {', '.join(sorted(twice))}")
        found |= states
    return found
