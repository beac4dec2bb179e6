"""What every step is that a plan takes by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from services.orchestrator.domain.plan import NextStep
from services.orchestrator.unit_of_work import UnitOfWork


class DueStep(ABC):
    """One step that a plan takes when its time comes."""

    step: ClassVar[NextStep]

    def is_due(self, work: UnitOfWork) -> bool:
        """Whether it is taken now."""
        return work.is_late

    @abstractmethod
    async def take(self, work: UnitOfWork) -> None:
        """Take the step on a held payment; carried on by another process it comes to the same.

        Afterwards the plan waits for something else, or for later. Raises `DependencyUnavailable` for what is to be
        tried again.
        """
