"""What the operators' front is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.console.actions import limits
from services.console.actions.domain import Limits
from services.console.login.settings import LoginSettings
from services.runtime.process.settings import Reader
from services.web.settings import FrontSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """A front, where its people log in, and what one of them may move alone."""

    front: FrontSettings
    login: LoginSettings
    limits: Limits

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            front=FrontSettings.read(read, listen="127.0.0.1:7090", issuer="console"),
            login=LoginSettings.read(read),
            limits=limits.read(read),
        )
