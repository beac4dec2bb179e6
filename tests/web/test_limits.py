"""The limits of the old specification are judged by what was counted in the last minutes, of all processes together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.console.operating.limits import WINDOW, Sample, Window, added, measured
from services.console.operating.metrics_reader import read

NOW = datetime(2026, 11, 29, 13, 5, tzinfo=UTC)
LENGTH = timedelta(minutes=10)
PAGE = """
# TYPE batzen_rpc_requests counter
batzen_rpc_requests_total{method="A/B",code="INTERNAL"} 3.0
batzen_rpc_requests_total{method="A/B",code="UNAVAILABLE"} 2.0
batzen_rpc_requests_total{method="A/B",code="NOT_FOUND"} 90.0
# TYPE batzen_watch_ends counter
batzen_watch_ends_total{reason="CLIENT"} 19.0
batzen_watch_ends_total{reason="WATCH_OVERFLOW"} 1.0
# TYPE batzen_recoveries counter
batzen_recoveries_total{outcome="moved"} 8.0
batzen_recoveries_total{outcome="failed"} 2.0
# TYPE batzen_payment_state_seconds histogram
batzen_payment_state_seconds_bucket{state="PROCESSING",le="2.0"} 5.0
batzen_payment_state_seconds_bucket{state="PROCESSING",le="5.0"} 7.0
batzen_payment_state_seconds_bucket{state="PROCESSING",le="+Inf"} 8.0
batzen_payment_state_seconds_count{state="PROCESSING"} 8.0
batzen_payment_state_seconds_sum{state="PROCESSING"} 31.0
batzen_payment_state_seconds_bucket{state="SUCCEEDED",le="5.0"} 70.0
batzen_payment_state_seconds_bucket{state="SUCCEEDED",le="+Inf"} 80.0
batzen_payment_state_seconds_count{state="SUCCEEDED"} 80.0
batzen_payment_state_seconds_sum{state="SUCCEEDED"} 99.0
# TYPE batzen_ready gauge
batzen_ready 1.0
# TYPE batzen_streams_open gauge
batzen_streams_open{method="A/W"} 4.0
# TYPE batzen_build_info gauge
batzen_build_info{version="0.9.0",commit="abc"} 1.0
"""


def test_a_process_is_read_as_it_says_of_itself() -> None:
    process, counts = read("status", "10.0.0.1:9090", PAGE)

    assert (process.is_ready, process.streams, process.version, process.problem) == (True, 4, "0.9.0", "")
    assert counts == {
        "errors": 5,
        "streams_all": 20,
        "streams_good": 19,
        "recoveries_all": 10,
        "recoveries_good": 8,
        "state_all": 8,
        "state_good": 7,
    }


def test_what_is_no_page_of_figures_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        read("status", "10.0.0.1:9090", "<html>\nnot { figures")


@pytest.mark.parametrize(
    ("good", "is_kept", "is_close"), [(1_000, True, False), (975, True, False), (974, True, True), (949, False, True)]
)
def test_a_limit_of_time_is_kept_by_95_in_a_hundred(good: int, is_kept: bool, is_close: bool) -> None:
    state = measured({"state_all": 1_000, "state_good": good}, length=LENGTH)[0]

    assert (state.good, state.is_close) == (is_kept, is_close)


@pytest.mark.parametrize(("errors", "is_kept"), [(0, True), (50, True), (51, False)])
def test_errors_are_counted_by_the_minute(errors: int, is_kept: bool) -> None:
    found = {one.name: one for one in measured({"errors": errors}, length=LENGTH)}

    assert found["Errors"].good is is_kept


def test_what_did_not_happen_is_not_known_rather_than_kept() -> None:
    assert {one.good for one in measured({}, length=LENGTH)} == {None}


def test_a_window_forgets_what_is_old_and_a_process_that_began_anew_counts_from_nothing() -> None:
    window = Window()
    for minutes, errors in ((0, 100.0), (1, 130.0), (16, 140.0), (17, 150.0)):
        window.add(Sample(at=NOW + timedelta(minutes=minutes), counts={"errors": errors}))

    assert window.counts() == {"errors": 20}
    assert window.began == NOW + timedelta(minutes=1)
    assert timedelta(minutes=15) == WINDOW

    window.add(Sample(at=NOW + timedelta(minutes=18), counts={"errors": 4.0}))

    assert window.counts() == {"errors": 4}


def test_processes_are_added() -> None:
    assert added([{"errors": 1, "state_all": 4}, {"errors": 2}]) == {"errors": 3, "state_all": 4}
