"""What is expected is shown at once and says that it is provisional; the truth has the last word."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.client import Client
from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.watching import Kind, Update
from batzen.watching.optimism import Expectation, Optimism
from tests.batzen.conftest import Status
from tests.status.conftest import move
from tests.status.samples import snapshot, succeeded

ASKED = PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD
PROCESSING = PaymentState.PAYMENT_STATE_PROCESSING
ACTION = PaymentState.PAYMENT_STATE_REQUIRES_ACTION
PAID = PaymentState.PAYMENT_STATE_SUCCEEDED
LONG_S = 60.0


def at(revision: int, state: PaymentState) -> pb.Transition:
    return pb.Transition(payment_id="pay_1", revision=revision, state=state, request_id=f"wrote {revision}")


def expecting(state: PaymentState, *, through: tuple[PaymentState, ...] = (), after: int | None = None) -> Expectation:
    return Expectation(payment_id="pay_1", state=state, through=through, after_revision=after)


def shown(*updates: Update | None) -> list[str]:
    """`TRUTH 2 REQUIRES_PAYMENT_METHOD` and the like."""
    return [
        f"{update.kind} {update.transition.revision} {PaymentState.Name(update.transition.state)[14:]}"
        for update in updates
        if update is not None
    ]


@pytest.fixture
def view() -> Optimism:
    """The view of a reader who was told revision 2."""
    view = Optimism()
    assert shown(view.heard(at(2, ASKED)), view.overlay()) == ["TRUTH 2 REQUIRES_PAYMENT_METHOD"]
    return view


def test_what_is_expected_is_shown_at_once_and_once(view: Optimism) -> None:
    view.expected(expecting(PROCESSING, after=2))

    overlay = view.overlay()
    assert shown(overlay, view.overlay()) == ["PROVISIONAL 2 PROCESSING"]
    assert overlay is not None
    assert overlay.transition.phase == pb.PHASE_PROCESSING
    assert (overlay.transition.settled, overlay.transition.request_id) == (False, "")


def test_the_truth_that_was_expected_takes_its_place(view: Optimism) -> None:
    view.expected(expecting(PROCESSING, after=2))
    view.overlay()

    assert shown(view.heard(at(3, PROCESSING)), view.overlay()) == ["TRUTH 3 PROCESSING"]
    assert shown(view.heard(at(4, ASKED)), view.overlay()) == ["TRUTH 4 REQUIRES_PAYMENT_METHOD"]


def test_another_truth_is_a_rollback(view: Optimism) -> None:
    view.expected(expecting(PAID, after=2))
    view.overlay()

    assert shown(view.heard(at(3, PROCESSING)), view.overlay()) == ["ROLLBACK 3 PROCESSING"]


def test_a_step_on_the_way_is_shown_and_it_is_expected_on(view: Optimism) -> None:
    view.expected(expecting(PAID, through=(PROCESSING,), after=2))
    view.overlay()

    assert shown(view.heard(at(3, PROCESSING)), view.overlay()) == ["TRUTH 3 PROCESSING", "PROVISIONAL 3 SUCCEEDED"]
    assert shown(view.heard(at(4, PAID)), view.overlay()) == ["TRUTH 4 SUCCEEDED"]


def test_what_is_withdrawn_is_rolled_back_to_the_truth(view: Optimism) -> None:
    expectation = expecting(PROCESSING, after=2)
    view.expected(expectation)
    view.overlay()
    view.withdrawn(expectation)

    assert shown(view.overlay(), view.overlay()) == ["ROLLBACK 2 REQUIRES_PAYMENT_METHOD"]


def test_what_was_not_shown_is_not_rolled_back(view: Optimism) -> None:
    expectation = expecting(PROCESSING, after=2)
    view.expected(expectation)
    view.withdrawn(expectation)
    assert view.overlay() is None

    view.expected(expecting(PROCESSING, after=2))
    assert shown(view.heard(at(3, ACTION)), view.overlay()) == ["TRUTH 3 REQUIRES_ACTION"]


def test_an_older_expectation_that_is_withdrawn_leaves_the_newer(view: Optimism) -> None:
    older = expecting(PROCESSING, after=2)
    view.expected(older)
    view.expected(expecting(ACTION, after=2))
    view.withdrawn(older)

    assert shown(view.overlay()) == ["PROVISIONAL 2 REQUIRES_ACTION"]


def test_what_is_true_already_is_not_expected(view: Optimism) -> None:
    view.expected(expecting(ASKED, after=2))

    assert view.overlay() is None
    assert shown(view.heard(at(3, PROCESSING))) == ["TRUTH 3 PROCESSING"]


def test_a_reader_who_is_behind_is_shown_it_when_they_get_there(view: Optimism) -> None:
    view.expected(expecting(PAID, after=4))
    assert view.overlay() is None

    assert shown(view.heard(at(3, PROCESSING)), view.overlay()) == ["TRUTH 3 PROCESSING"]
    assert shown(view.heard(at(4, ACTION)), view.overlay()) == ["TRUTH 4 REQUIRES_ACTION", "PROVISIONAL 4 SUCCEEDED"]


def test_a_reader_who_is_ahead_of_it_is_not_shown_it(view: Optimism) -> None:
    view.expected(expecting(PROCESSING, after=1))

    assert view.overlay() is None


def test_what_is_expected_before_anything_is_known_is_laid_over_the_first_truth() -> None:
    view = Optimism()
    view.expected(expecting(PROCESSING))
    assert view.overlay() is None

    assert shown(view.heard(at(7, ASKED)), view.overlay()) == [
        "TRUTH 7 REQUIRES_PAYMENT_METHOD",
        "PROVISIONAL 7 PROCESSING",
    ]
    assert shown(view.heard(at(8, ASKED)), view.overlay()) == ["ROLLBACK 8 REQUIRES_PAYMENT_METHOD"]


STATES = st.sampled_from((ASKED, PROCESSING, ACTION, PAID))
STEPS = st.lists(
    st.tuples(st.just("truth"), STATES)
    | st.tuples(st.just("expect"), STATES, st.lists(STATES, max_size=2), st.none() | st.integers(-2, 2))
    | st.tuples(st.just("withdraw"))
    | st.tuples(st.just("look")),
    max_size=30,
)


@given(STEPS)
def test_every_truth_is_shown_once_in_order_and_nothing_provisional_stays(steps: list[tuple[object, ...]]) -> None:
    view, seen, expectation = Optimism(), [], None
    revision = 0
    for step in steps:
        match step:
            case ("truth", state):
                revision += 1
                seen.append(view.heard(at(revision, state)))  # type: ignore[arg-type]
            case ("expect", state, through, back):
                after = None if back is None else max(0, revision + back)  # type: ignore[operator]
                expectation = expecting(state, through=tuple(through), after=after)  # type: ignore[arg-type]
                view.expected(expectation)
            case ("withdraw",) if expectation is not None:
                view.withdrawn(expectation)
            case ("look",):
                seen.append(view.overlay())  # type: ignore[arg-type]
    if expectation is not None:
        view.withdrawn(expectation)
    seen += [view.overlay(), view.overlay()]  # type: ignore[list-item]
    seen = [update for update in seen if update is not None]

    news = [
        update.transition.revision
        for number, update in enumerate(seen)
        if update.kind is Kind.TRUTH
        or (update.kind is Kind.ROLLBACK and update.transition.revision > seen[number - 1].transition.revision)
    ]
    assert news == list(range(1, revision + 1))
    assert not seen or seen[-1].kind is not Kind.PROVISIONAL
    for before, update in pairwise(seen):
        assert update.kind is not Kind.ROLLBACK or before.kind is Kind.PROVISIONAL
        assert update.kind is not Kind.PROVISIONAL or update.transition.revision == before.transition.revision


# Through the client.


async def test_readers_who_ask_for_it_are_shown_it_and_the_others_only_the_truth(
    status: Status, batzen: Client
) -> None:
    payment_id = await status.open()
    await status.move(payment_id, to=2)
    async with (
        batzen.watch_optimistic(payment_id) as optimist,
        batzen.watch_optimistic(payment_id) as other,
        batzen.watch(payment_id) as realist,
    ):
        for updates in (optimist, other):
            await anext(updates)
        await anext(realist)
        batzen.expect(payment_id, PROCESSING, timeout_s=LONG_S)
        assert shown(await anext(optimist), await anext(other)) == ["PROVISIONAL 2 PROCESSING"] * 2
        await move(status.stub, payment_id, snapshot("PROCESSING"), succeeded(), expected=2)
        assert shown(await anext(optimist), await anext(optimist)) == ["TRUTH 3 PROCESSING", "TRUTH 4 SUCCEEDED"]
        assert [(await anext(realist)).revision for _ in range(2)] == [3, 4]


async def test_what_fails_inside_is_withdrawn(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch_optimistic(payment_id) as updates:
        assert shown(await anext(updates)) == ["TRUTH 1 INITIALIZED"]
        with (
            pytest.raises(LookupError, match="PROVISIONAL 1 PROCESSING"),
            batzen.expect(payment_id, PROCESSING, timeout_s=LONG_S),
        ):
            raise LookupError(shown(await anext(updates)))
        assert shown(await anext(updates)) == ["ROLLBACK 1 INITIALIZED"]


async def test_what_does_not_come_in_time_is_rolled_back(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch_optimistic(payment_id) as updates:
        await anext(updates)
        batzen.expect(payment_id, PROCESSING, timeout_s=0.01)
        waiting = [await anext(updates)]
        if waiting[0].kind is Kind.PROVISIONAL:
            waiting.append(await anext(updates))

        assert shown(waiting[-1]) == ["ROLLBACK 1 INITIALIZED"]
        async with batzen.watch_optimistic(payment_id) as late:
            assert shown(await anext(late)) == ["TRUTH 1 INITIALIZED"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(late)


async def test_a_reader_who_comes_later_is_shown_it_too(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    batzen.expect(payment_id, PROCESSING, timeout_s=LONG_S)
    async with batzen.watch_optimistic(payment_id, until_settled=True) as updates:
        assert shown(await anext(updates), await anext(updates)) == [
            "TRUTH 1 INITIALIZED",
            "PROVISIONAL 1 PROCESSING",
        ]
        await move(status.stub, payment_id, snapshot(), succeeded())
        assert shown(*[update async for update in updates]) == [
            "ROLLBACK 2 REQUIRES_PAYMENT_METHOD",
            "TRUTH 3 SUCCEEDED",
        ]


@pytest.mark.parametrize(("state", "timeout_s"), [(99, 1.0), (0, 1.0), (PROCESSING, 0.0), (PROCESSING, 301.0)])
async def test_what_cannot_be_expected_is_refused(batzen: Client, state: PaymentState, timeout_s: float) -> None:
    with pytest.raises(ValueError, match=r"state|timeout_s"):
        batzen.expect("pay_1", state, timeout_s=timeout_s)
