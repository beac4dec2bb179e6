"""Compiles what the first start imports, once: otherwise each of its processes would, all at the same moment.

    python -m local.compiled

pip would compile everything that is installed, most of which nobody imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from local.environments import SERVICES

STARTED: Final = (
    "local.demo",
    "local.up",
    "sandbox.__main__",
    *(f"services.{service}.__main__" for service in SERVICES),
)


def compile_all() -> None:
    """Import each, which leaves it compiled."""
    for module in STARTED:
        import_module(module)


if __name__ == "__main__":
    compile_all()
