"""How a dispute is answered through the API: evidence as a draft, handed in, or the dispute given up.

There is no upload of files: an id is taken when it looks like one of Stripe's (`file_…`). Nested evidence, such as that
for Visa's compelling evidence, is not modelled.
"""

import re
from typing import Any

from sandbox import disputes
from sandbox.errors import ApiError, missing
from sandbox.world import Object, World, merge_metadata

_TEXT_MAX = 20_000  # characters of one text
_ALL_MAX = 150_000  # characters of all texts together
_FILE = re.compile(r"file_[A-Za-z0-9]{1,255}\Z")


def update(world: World, params: dict[str, Any], dispute_id: str) -> Object:
    """Keep evidence as a draft, and hand it in unless `submit` is false: at Stripe, that is the default."""
    dispute = world.get("dispute", dispute_id)
    changes: Object = {}
    if "metadata" in params:
        changes["metadata"] = merge_metadata(dispute["metadata"], params["metadata"])
    given = params.get("evidence", {})
    submits = params.get("submit", bool(given))  # what is no evidence hands nothing in (U)
    if given or submits:
        _check_open(dispute)
        changes["evidence"] = dispute["evidence"] | {name: value or None for name, value in given.items()}
        _check(given, changes["evidence"])
    previous = {name: dispute[name] for name, value in changes.items() if dispute[name] != value}
    dispute.update(changes)
    details = dispute["evidence_details"]
    details["has_evidence"] = any(dispute["evidence"][name] for name in (*disputes.TEXTS, *disputes.FILES))
    if submits:
        _hand_in(world, dispute)
    elif previous:
        world.emit("charge.dispute.updated", dispute, previous=previous)
    return dispute


def close(world: World, _params: dict[str, Any], dispute_id: str) -> Object:
    """Give a dispute up, for good. Stripe says so of `needs_response`; of the other states: (U)."""
    dispute = world.get("dispute", dispute_id)
    if dispute["status"] in disputes.CLOSED:
        raise ApiError("This dispute is already closed")
    if dispute["status"].startswith("warning"):
        raise ApiError("An inquiry cannot be closed. Refund the charge, or submit evidence.")
    return disputes.change(world, dispute, status="lost")


def _check_open(dispute: Object) -> None:
    if dispute["status"] in disputes.CLOSED:
        raise ApiError("This dispute is already closed")


def _check(given: Object, evidence: Object) -> None:
    for name in disputes.FILES:
        if (file_id := given.get(name)) and not _FILE.match(file_id):
            raise missing("file upload", file_id, param=f"evidence[{name}]")
    for name in disputes.TEXTS:
        if len(given.get(name, "")) > _TEXT_MAX:
            raise ApiError(f"Evidence may have at most {_TEXT_MAX} characters.", param=f"evidence[{name}]")
    total = sum(len(evidence[name] or "") for name in disputes.TEXTS)
    if total > _ALL_MAX:  # the limit is Stripe's, its words are ours (U)
        raise ApiError(f"All evidence together may have at most {_ALL_MAX} characters, not {total}.", param="evidence")


def _hand_in(world: World, dispute: Object) -> None:
    """Send it to the bank. Stripe says that one submission is typical, and counts them: so more are taken (U)."""
    details = dispute["evidence_details"]
    details.update(
        submission_count=details["submission_count"] + 1,
        submission_method="manual",
        past_due=details["due_by"] is not None and world.clock.now() > details["due_by"],
    )
    status = disputes.UNANSWERED.get(dispute["status"])
    if status is not None:
        disputes.change(world, dispute, status=status)
    else:
        counted = {"evidence_details": {"submission_count": details["submission_count"] - 1}}
        world.emit("charge.dispute.updated", dispute, previous=counted)
    disputes.decide_later(world, dispute)
