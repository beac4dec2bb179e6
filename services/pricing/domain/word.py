"""The base of the domain's enumerations."""

from __future__ import annotations

from enum import Enum


class Word(Enum):
    """An enumeration whose members hash by identity: there is one of each, and Python's own hash is much slower."""

    __hash__ = object.__hash__
