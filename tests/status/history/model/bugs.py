"""The ways in which the model can break the contract."""

from __future__ import annotations

from enum import StrEnum


class Bug(StrEnum):
    """A way to break the contract."""

    SKIPS_ON_RESUME = "skips one on resume"
    REPEATS_ON_RESUME = "repeats one on resume"
    DROPS_ON_OVERFLOW = "drops what is too much for a reader"
    HINT_AS_TRUTH = "sends what was only announced"
    BEFORE_COMMIT = "sends what is about to be committed"
    WRONG_ORDER = "sends what is ready in the wrong order"
    REPEATS = "sends one twice"
    OLD_CONTENT = "sends an old content under a new revision"
    GOES_BACK = "goes back to an older state for who wants the newest"
    FALLS_ASLEEP = "forgets a watch"
    STALE_HEADER = "begins with a state that is over"
    HEADER_AHEAD = "begins with a revision that is not there"
    HEARTBEAT_AHEAD = "says with a heartbeat that more was carried"
    RESUME_AHEAD = "tells a watch to resume too far ahead"
    RESUME_BEHIND = "tells a watch to resume from before it began"
    ENDS_UNSETTLED = "ends a watch before the payment is settled"
    NEVER_ENDS = "goes on after the payment is settled"
    REVISION_AHEAD = "takes a revision that is there for one ahead"

    MANY_SKIPS = "skips one when a payment is added"
    CREATED_TWICE = "answers an Add twice"
    ADD_UNANSWERED = "does not answer an Add"
    DROP_UNANSWERED = "does not cancel what was dropped"
    SENDS_AFTER_CANCEL = "sends after a watch was canceled"
    CROSSED = "sends under another payment's id"
    CANCEL_AHEAD = "says with a Canceled that more was carried"

    FEED_BY_SEQUENCE = "takes the newest for all there is, and skips what commits late"
    CURSOR_AHEAD = "hands out a cursor beyond what was sent"
    CURSOR_LOST = "begins now, whatever the cursor"
    FEED_FROM_THE_START = "begins at the start without a cursor"
    FEED_REPEATS = "sends a change twice in a feed"
    FEED_WRONG_ORDER = "sends changes of a payment in the wrong order"
    FEED_OUTSIDE = "sends what does not match"
    LEAVES_SILENTLY = "does not say that a payment left the filter"
    ALWAYS_INSIDE = "does not tell entering from being inside"
    FEED_OLD_CONTENT = "sends the payment of now instead of as it was left"
    CAUGHT_UP_EARLY = "says it is caught up at once"

    LOST_UPDATE = "lets two writers write one revision"
    ONLY_ACKNOWLEDGED = "acknowledges what it does not write"
    CONFLICT_STALE = "tells a loser an old revision"
    CONFLICT_AHEAD = "tells a loser a revision that is not there"
    REPEAT_WRITES = "writes a repeat again"
    REPEAT_GETS_NEWEST = "answers a repeat with the newest transition"
    REPEAT_CONFLICTS = "tells a repeat of what it wrote that there is a conflict"
    STALE_READING = "reads a state that is over"
    FORGETS = "loses the last transition of a payment in the end"
    CHANGES_THE_PAST = "writes a transition that it had stored anew"
