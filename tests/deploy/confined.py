"""What a process may do, as the kernel says it: not what somebody was told to arrange."""

from __future__ import annotations

from typing import Final

USER: Final = "10001"
BOUNDS: Final = {
    "Uid": {USER},
    "Gid": {USER},
    "CapEff": {"0" * 16},
    "CapPrm": {"0" * 16},
    "CapBnd": {"0" * 16},
    "NoNewPrivs": {"1"},
    "Seccomp": {"2"},
}
"""Of /proc/<pid>/status: no user that the system knows, no capability and none to be had, calls filtered."""


def breaches(status: str) -> dict[str, list[str]]:
    """Return what a process has beyond its bounds, by the text of its status; nothing if all is well."""
    found = {key: value.split() for key, _, value in (line.partition(":") for line in status.splitlines())}
    return {key: found.get(key, []) for key, allowed in BOUNDS.items() if set(found.get(key, [])) != allowed}
