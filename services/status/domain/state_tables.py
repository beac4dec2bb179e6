"""The rules of a payment's state as Markdown, for docs/states.md."""

from __future__ import annotations

from services.shared.states import State
from services.status.domain.snapshot import MOVES, STATE_RULES, STATES_OF


def render_tables() -> str:
    """Return the table of moves, the state function and the phases as Markdown."""
    moves = [f"| `{origin}` | {_names(targets) or 'nothing'} |" for origin, targets in MOVES.items()]
    rules = [f"| {number} | {condition} | {state} |" for number, (condition, state) in enumerate(STATE_RULES, start=1)]
    phases = [f"| `{phase}` | {_names(states)} |" for phase, states in STATES_OF.items()]
    return "\n".join(
        (
            "| `collection` | may become, besides itself with other facts |",
            "| --- | --- |",
            *moves,
            "",
            "A success has captured something, or had nothing to collect; only then may it follow `INITIALIZED`.",
            "",
            "| | the first that holds | `state` |",
            "| --- | --- | --- |",
            *rules,
            "",
            "| `phase` | states |",
            "| --- | --- |",
            *phases,
            "",
        )
    )


def _names(states: tuple[State, ...]) -> str:
    return ", ".join(f"`{state}`" for state in states)
