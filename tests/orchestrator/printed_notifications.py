"""The table of docs/notifications.md that code prints."""

from __future__ import annotations

from services.orchestrator.notifications.kinds import TELLINGS, Channel


def kinds() -> str:
    """Return who is told what, as Markdown."""
    lines = [
        "| kind | who | about | priority | in the app | mail | may opt out |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in TELLINGS:
        mail, in_app = ("yes" if channel in one.channels else "–" for channel in (Channel.MAIL, Channel.IN_APP))
        opt_out = "–" if one.is_mandatory else "yes"
        lines.append(
            f"| `{one.kind}` | {one.recipient.lower()} | {one.category.lower()} | {one.priority.lower()} | {in_app} |"
            f" {mail} | {opt_out} |"
        )
    return "\n".join(lines) + "\n"
