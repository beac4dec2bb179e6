"""`batzen demo` and `batzen up`, as a person runs them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.ports import free_ports, variable
from local.processes import ROOT
from sandbox.control import SandboxControl
from tests.eventually import WITHIN_S, eventually
from tests.forking import ForkServer

RUN = "import sys; from pathlib import Path; from local import commands; commands.STATE = Path(sys.argv.pop(1)); "
RUN += "from local.child import end_with_parent; end_with_parent(); import batzen.cli.app as cli; cli.main()"
"""The command line, gone when the tests are; its state lies elsewhere than the checkout's, which may be in use."""

UP_WITHIN_S = 4 * WITHIN_S
"""A first start on a busy machine."""

RUN_ALL = """
import json, sys
from typer.testing import CliRunner
from batzen.cli.app import app
results = [CliRunner().invoke(app, command) for command in json.loads(sys.argv[1])]
print(json.dumps([(result.exit_code, result.output) for result in results]))
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="batzen-up-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


async def _start(directory: Path, *arguments: str, **environment: str) -> Process:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("BATZEN_", "STRIPE_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, str(directory), *arguments,
        cwd=ROOT, env=environ | {"COLUMNS": "100"} | environment, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def _run(directory: Path, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
    process = await _start(directory, *arguments, **environment)
    return await _end_of(process)


async def _end_of(process: Process) -> tuple[int | None, str, str]:
    """Read all that it says. `communicate` may close its standard input, which ends it."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    return process.returncode, output.decode(), errors.decode()


def _processes_of(directory: Path) -> dict[int, str]:
    """Return the processes that work in `directory`: number and command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_text(errors="replace").replace("\0", " ")
            if str(directory) in command + (path / "environ").read_text(errors="replace"):
                found[int(path.name)] = command
        except OSError:  # it ended, or is none of ours
            continue
    return found


async def test_the_demo_takes_its_payments_to_their_ends(directory: Path) -> None:
    code, output, errors = await _run(directory, "demo", "--json")

    document = json.loads(output)
    assert [(p["title"], p["failure"]) for p in document["payments"] if not p["ended_as_wanted"]] == []
    assert code == 0, errors
    assert document["ok"]
    ends = [payment["states"][-1] for payment in document["payments"]]
    assert {"SUCCEEDED", "REFUNDED", "PARTIALLY_REFUNDED", "DISPUTE_LOST", "CANCELED", "EXPIRED"} == set(ends)
    has = {one["seller_id"]: (one["quoted_minor"], one["has_minor"]) for one in document["books"]["sellers"]}
    assert has == {"anna": (17_000, 8_500), "bruno": (8_500, 0), "carla": (5_100, 2_550)}
    assert document["books"]["problems"] == []
    assert all(payment["own_ms"] > 0 and payment["stripe_ms"] > 0 for payment in document["payments"])
    assert _processes_of(directory) == {}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STRIPE_API_KEY": "sk_" + "live_0"}, "STRIPE_API_KEY is a live key"),
        ({"STRIPE_API_KEY": "sk_test_0", "STRIPE_API_BASE": "http://127.0.0.1:1"}, "could not be tried at http://127"),
        ({"BATZEN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "BATZEN_DATABASE_URL cannot be used"),
        ({"BATZEN_DATABASE_URL": "no url"}, "BATZEN_DATABASE_URL cannot be used: it has no ://"),
        (
            {"BATZEN_DATABASE_URL": "mysql://me:secret@127.0.0.1/x"},
            "BATZEN_DATABASE_URL cannot be used: it begins with mysql://.",
        ),
        ({"BATZEN_GATEWAY_PORT": "many"}, "BATZEN_GATEWAY_PORT"),
    ],
)
async def test_what_keeps_it_from_starting_is_said_without_a_traceback(
    directory: Path, environment: dict[str, str], said: str
) -> None:
    ports = {variable(name): str(port) for name, port in free_ports().items()}

    code, _, errors = await _run(directory, "up", **ports | environment)

    assert code == 1
    assert said in errors
    assert "Traceback" not in errors


class Up:
    """A suite that stays up, and the command line beside it."""

    def __init__(self, process: Process, directory: Path, forks: ForkServer, *, ports: dict[str, str]) -> None:
        self.process = process
        self.ports = ports
        self._forks = forks
        self.directory = directory
        self.sandbox_url = f"http://127.0.0.1:{ports[variable('sandbox')]}"

    async def batzen(self, *arguments: str, **environment: str) -> tuple[int | None, Any]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("BATZEN_", "STRIPE_"))}
        environ |= {"COLUMNS": "100", "BATZEN_CONNECTION": str(self.directory / "connection.json")}
        environ |= environment
        with tempfile.NamedTemporaryFile() as said, tempfile.NamedTemporaryFile() as complained:
            command = ["tests.local.typed", str(self.directory), *arguments]
            code = await (await self._forks.spawn(command, environ, said, complained)).wait()
            output, errors = said.read().decode(), complained.read().decode()
        return code, json.loads(output) if output.strip().startswith(("{", "[")) else output + errors

    async def typed(self, *commands: Sequence[str]) -> list[tuple[int, str]]:
        """Run commands one after another in one process, and return the exit code and the output of each."""
        environ = os.environ | {"BATZEN_CONNECTION": str(self.directory / "connection.json"), "COLUMNS": "200"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN_ALL, json.dumps(commands), cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return [(code, said) for code, said in json.loads(output)]

    async def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        output = ""
        async with asyncio.timeout(UP_WITHIN_S):
            while text not in output:
                line = await self.process.stdout.readline()
                assert line, (output, await _end_of(self.process))
                output += line.decode()
        return output


@pytest.fixture(scope="module")
async def up(directory: Path) -> AsyncIterator[Up]:
    ports = {variable(name): str(port) for name, port in free_ports().items()}
    process = await _start(directory, "up", **ports)
    async with ForkServer("tests.local.typed", COLUMNS="100") as forks:
        running = Up(process, directory, forks, ports=ports)
        await running.read_until("Ctrl-C")
        yield running
    if running.process.returncode is None:
        running.process.kill()
    await _end_of(running.process)


async def test_a_card_is_charged_refunded_and_listed(up: Up) -> None:
    code, paid = await up.batzen("pay", "--amount", "100.00 CHF", "--json")
    assert (code, paid["state"]) == (0, "PAYMENT_STATE_SUCCEEDED"), paid

    code, refunded = await up.batzen("refund", paid["payment_id"], "--amount", "30.00 CHF", "--json")
    assert (code, refunded["amount"]["amount_minor"]) == (0, "3000"), refunded

    code, listed = await up.batzen("list", "--json")
    assert paid["payment_id"] in [payment["payment_id"] for payment in listed]

    async def diagnosed() -> str | None:
        code, said = await up.batzen("doctor", paid["payment_id"])
        return said if code == 0 else None  # what Stripe did is on its way here for a moment

    code, recent = await up.batzen("doctor", "--json")
    assert (code, recent.get("disagreements", [])) == (0, []), "the first round is due in an hour"
    said = await eventually(diagnosed, what="all records agree")
    assert f"{paid['payment_id']}   all records agree" in said
    [back] = [line for line in said.splitlines() if line.startswith("given back")]
    assert back.split()[2:] == ["30.00"] * 5, "of all but the quote"
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(("outcome", "code"), [("succeed", 0), ("fail", 1)])
async def test_the_payer_authenticates_or_does_not(up: Up, outcome: str, code: int) -> None:
    assert (await up.batzen("pay", "--amount", "80 CHF", "--card", "3ds", "--3ds", outcome, "--json"))[0] == code


async def test_a_declined_payment_can_be_paid_with_another_card(up: Up) -> None:
    code, declined = await up.batzen("pay", "--amount", "5 CHF", "--card", "insufficient", "--json")
    assert (code, declined["snapshot"]["last_error"]["decline_code"]) == (1, "insufficient_funds")

    assert (await up.batzen("pay", "--payment", declined["payment_id"], "--json"))[0] == 0


async def test_a_hold_is_captured_in_parts(up: Up) -> None:
    code, held = await up.batzen("pay", "--amount", "90 CHF", "--timing", "hold", "--reference", "hold-1", "--json")
    assert (code, held["state"], held["snapshot"]["amounts"]["capturable_minor"]) == (
        0,
        "PAYMENT_STATE_AUTHORIZED",
        "9000",
    )

    code, part = await up.batzen("capture", held["payment_id"], "--amount", "20 CHF", "--json")
    assert (code, part["snapshot"]["amounts"]["capturable_minor"]) == (0, "7000"), part
    code, said = await up.batzen("capture", held["payment_id"], "--amount", "30 CHF", "--final")
    assert code == 0
    assert "Paid 50.00 CHF" in said

    code, found = await up.batzen("find", "--reference", "hold-1", "--json")
    assert (code, found[0]["payment_id"], found[0]["state"]) == (0, held["payment_id"], "PAYMENT_STATE_SUCCEEDED")
    code, said = await up.batzen("capture", held["payment_id"])
    assert code == 1
    assert f"show {held['payment_id']}" in said
    _, listed = await up.batzen("find", "--reference", "hold-1")
    assert "succeeded · captured 50.00" in listed, "less than the total is said"


async def test_a_payer_keeps_methods_and_pays_with_one_at_a_later_time(up: Up) -> None:
    passed = ("--setup", "--3ds", "succeed")
    assert (await up.batzen("methods", "add", "payer_7", "--card", "3ds-on-setup", *passed, "--json"))[0] == 0
    _, (kept,) = await up.batzen("methods", "list", "payer_7", "--json")
    assert (kept["last4"], kept["default"]) == ("3155", True)

    planned = ("--timing", "scheduled", "--at", "2d", "--card", kept["payment_method_id"], "--3ds", "succeed")
    code, paid = await up.batzen("pay", "--amount", "70 CHF", "--payer", "payer_7", *planned, "--json")
    assert (code, paid["state"]) == (0, "PAYMENT_STATE_SCHEDULED"), paid
    code, moved = await up.batzen("reschedule", paid["payment_id"], "--at", "3d", "--json")
    assert (code, moved["snapshot"]["charge_time"] > paid["snapshot"]["charge_time"]) == (0, True), moved
    code, retried = await up.batzen("retry", paid["payment_id"], "--json")
    assert (code, retried["state"]) == (0, "PAYMENT_STATE_SUCCEEDED"), retried


async def test_a_payer_pays_on_the_hosted_page(up: Up) -> None:
    _, begun = await up.batzen("pay", "--amount", "60 CHF", "--checkout", "--start-only", "--json")
    assert begun["checkout_url"].startswith("http://127.0.0.1:"), begun

    code, said = await up.batzen("pay", "--payment", begun["payment_id"], "--card", "insufficient")
    assert code == 1
    assert "The page says: Your card has insufficient funds." in said
    code, paid = await up.batzen("pay", "--payment", begun["payment_id"], "--card", "3ds", "--3ds", "succeed", "--json")
    assert (code, paid["state"]) == (0, "PAYMENT_STATE_SUCCEEDED"), paid


async def test_who_does_not_wait_for_the_payer_is_told_how_to_look_again(up: Up) -> None:
    code, said = await up.batzen("pay", "--amount", "61 CHF", "--checkout", "--wait", "0")
    assert code == 1
    payment_id = said.split()[0]
    assert f"watch {payment_id} --until-settled" in said


async def test_a_payer_goes_away_and_comes_back(up: Up) -> None:
    _, begun = await up.batzen("pay", "--amount", "9 CHF", "--start-only", "--booking", "booking_9", "--json")

    assert (await up.batzen("attach-booking", begun["payment_id"], "booking_10"))[0] == 0
    code, kept = await up.batzen("preserve", begun["payment_id"], "--for", "10m", "--json")
    assert (code, kept["payment"]["booking_ids"]) == (0, ["booking_9", "booking_10"])
    code, resumed = await up.batzen("resume", begun["payment_id"], "--json")
    assert (code, "client_secret" in resumed["session"]) == (0, False), resumed


async def test_a_payer_chooses_to_be_charged_later(up: Up) -> None:
    offered = ("--offer-timing", "scheduled", "--at", "2d", "--start-only", "--json")
    _, begun = await up.batzen("pay", "--amount", "9 CHF", *offered)
    code, resumed = await up.batzen("resume", begun["payment_id"], "--timing", "scheduled", "--json")
    assert (code, resumed["session"]["timing"]) == (0, "TIMING_SCHEDULED"), resumed
    assert len(resumed["session"]["timings_offered"]) == 2


async def test_a_watch_ends_when_nothing_more_is_awaited(up: Up) -> None:
    _, paid = await up.batzen("pay", "--amount", "7 CHF", "--json")

    code, said = await up.batzen("watch", paid["payment_id"], "--until-settled", "--after", "0")

    assert code == 0
    assert "succeeded" in said


async def test_one_page_shows_all_of_a_payment(up: Up) -> None:
    _, paid = await up.batzen("pay", "--amount", "31 CHF", "--booking", "booking_31", "--json")

    async def whole() -> str | None:
        _, said = await up.batzen("show", paid["payment_id"])
        # What is booked last, and what is noted of the event when all that it leads to was done.
        return said if "stripe_fee" in said and "payment_intent.succeeded  done" in said else None

    said = await eventually(whole, what="all of it is booked")
    for shown in ("bookings: booking_31", "Amounts", "History", "· initialized", "← counts", "Ledger", "platform_fee"):
        assert shown in said, said
    code, document = await up.batzen("show", paid["payment_id"], "--json")
    assert (code, document["payment"]["payment_id"]) == (0, paid["payment_id"])
    assert [one["revision"] for one in document["transitions"]] == ["1", "2", "3", "4"]
    assert sum(int(one["amount"]["amount_minor"]) for one in document["ledger_entries"]) == 0
    _, as_payer = await up.batzen("--as", "payer", "show", paid["payment_id"])
    assert ("Ledger" in as_payer, "are for operators" in as_payer) == (False, True)


async def test_events_are_heard_as_they_come(up: Up) -> None:
    _, paid = await up.batzen("pay", "--amount", "32 CHF", "--json")
    wanted = ("listen", "--payment", paid["payment_id"], "--since", "1h", "--type", "payment_intent.succeeded")
    code, said = await up.batzen(*wanted, "--count", "1")

    assert code == 0
    assert "payment_intent.succeeded" in said
    assert paid["payment_id"] in said


async def test_a_journey_is_played_and_an_event_happens_to_its_payment(up: Up) -> None:
    code, played = await up.batzen("trigger", "refunded", "--json")
    assert (code, played["states"][-1], played["failure"]) == (0, "REFUNDED", None)
    code, said = await up.batzen("trigger", "3ds")
    assert code == 0, said
    assert "the payer confirms at the bank" in said
    payment_id = re.findall(r"show (pay_\w+)", said)[0]

    code, said = await up.batzen("trigger", "dispute-lost", "--payment", payment_id)
    assert (code, "trigger `dispute` first" in said) == (1, True)
    code, said = await up.batzen("trigger", "dashboard-refund", "--payment", payment_id)
    assert (code, f"show {payment_id}" in said, "↩ refunded" in said) == (0, True, True), said
    assert (await up.batzen("trigger", "earthquake"))[0] == 2
    assert (await up.batzen("trigger", "dispute"))[0] == 2
    code, listed = await up.batzen("trigger", "--json")
    assert {"3ds", "sepa"} <= set(listed["journeys"])


async def test_a_journey_is_played_on_the_suite_of_this_checkout_alone(up: Up, tmp_path: Path) -> None:
    elsewhere = {"BATZEN_ORCHESTRATOR_ADDRESS": "127.0.0.1:1"}
    for arguments in (("trigger", "3ds"), ("trigger", "dispute", "--payment", "pay_1")):
        code, said = await up.batzen(*arguments, BATZEN_TOKEN="of another suite", **elsewhere)
        assert (code, "started in this checkout" in said) == (1, True), said

    # What another checkout wrote, or one whose suite ended, is no file of this one.
    other = tmp_path / "connection.json"
    document = json.loads((up.directory / "connection.json").read_text())
    other.write_text(json.dumps(document | {"addresses": document["addresses"] | {"gateway": "127.0.0.1:1"}}))
    code, said = await up.batzen("trigger", "3ds", BATZEN_CONNECTION=str(other))
    assert (code, "started in this checkout" in said) == (1, True), said


async def test_a_journey_leaves_a_seller_who_is_there_as_it_is(up: Up) -> None:
    ours = ("--email", "own@example.com", "--name", "Our Own Ltd", "--vat-id", "CHE-123.456.788 MWST")
    assert (await up.batzen("sellers", "put", "seller_1", *ours))[0] == 0
    assert (await up.batzen("trigger", "declined", "--json"))[0] == 0

    _, seller = await up.batzen("sellers", "get", "seller_1", "--json")
    assert (seller["receipt_name"], seller["vat_id"]) == ("Our Own Ltd", "CHE-123.456.788 MWST")


async def test_only_what_stands_for_stripe_has_a_page_that_a_terminal_completes(up: Up, tmp_path: Path) -> None:
    document = json.loads((up.directory / "connection.json").read_text())
    at_stripe = tmp_path / "connection.json"
    at_stripe.write_text(json.dumps(document | {"stand_in_url": None}))
    keep = ("methods", "add", "payer_1", "--card", "3ds", "--setup")
    for arguments in (("pay", "--amount", "5 CHF", "--card", "3ds", "--wait", "0"), keep):
        _, said = await up.batzen(*arguments)
        assert ("Open it in a browser" in said, "Or use --3ds succeed" in said) == (True, True), said
        _, said = await up.batzen(*arguments, BATZEN_CONNECTION=str(at_stripe))
        assert ("Open it in a browser" in said, "--3ds" in said) == (True, False), said


async def test_hints_can_be_typed_as_they_are(up: Up) -> None:
    _, declined = await up.batzen("pay", "--amount", "33 CHF", "--card", "insufficient", "--json")
    for typed in (
        ("pay", "--amount", "33 CHF"),
        ("pay", "--payment", declined["payment_id"], "--card", "expired"),
        ("capture", declined["payment_id"]),
        ("refund", declined["payment_id"], "--amount", "1 CHF"),
        ("pay", "--amount", "0.10 CHF"),
        ("pay", "--amount", "5 CHF", "--seller", "seller_of_nobody"),
        ("sellers", "get", "seller_of_nobody"),
        ("methods", "remove", "payer_1", "pm_none"),
    ):
        _, said = await up.batzen(*typed)
        assert not re.search(r"\b(PAYMENT|SELLER|PAYER|METHOD)_ID\b", said), said
        assert "python -m" not in said


async def test_a_list_fits_into_80_columns_without_cutting_an_id(up: Up) -> None:
    _, paid = await up.batzen("pay", "--amount", "12'345.70 CHF", "--json")
    _, listed = await up.batzen("list", "--limit", "5", COLUMNS="80")

    assert max(map(len, listed.splitlines())) <= 80
    assert f"● {paid['payment_id']}" in listed


async def test_a_seller_is_added_once_and_a_price_is_shown(up: Up) -> None:
    _, first = await up.batzen("sellers", "put", "seller_9", "--email", "nine@example.com", "--json")
    _, again = await up.batzen("sellers", "put", "seller_9", "--email", "nine@example.com", "--json")
    code, quote = await up.batzen("quote", "--amount", "100.00 CHF", "--seller", "seller_9", "--json")

    assert first["stripe_account_id"] == again["stripe_account_id"]
    assert (code, quote["total"]["amount_minor"]) == (0, "10000")


async def test_a_seller_whom_stripe_stops_is_refused_until_the_page_of_a_link_is_sent_off(up: Up) -> None:
    _, made = await up.batzen(
        "sellers", "put", "seller_link", "--email", "link@example.com", "--statement", "LINK", "--json"
    )
    link = [
        "sellers",
        "link",
        "seller_link",
        "--return",
        "https://shop.example/",
        "--refresh",
        "https://shop.example/again",
    ]
    async with SandboxControl(up.sandbox_url) as stripe:
        await stripe.require(made["stripe_account_id"], ["individual.verification.document"])
        await stripe.drain()  # told at the Connect endpoint
        code, said = await eventually(partial(_is_as, up, 1))
        assert "individual.verification.document" in said, said
        code, said = await up.batzen("pay", "--amount", "5 CHF", "--seller", "seller_link")
        assert code == 1
        assert "SELLER_NOT_PAYABLE" in said
        assert "sellers get seller_link" in said

        code, linked = await up.batzen(*link, "--json")
        assert (code, await stripe.onboard(linked["url"])) == (0, "https://shop.example/")
        await stripe.drain()
        await eventually(partial(_is_as, up, 0))
        payout = await stripe.pay_out(made["stripe_account_id"], amount=4_250, currency="chf")

    code, listed = await up.batzen("sellers", "payouts", "seller_link")
    assert code == 0
    assert payout["id"] in listed
    assert "42.50 CHF" in listed


async def _is_as(up: Up, wanted: int) -> tuple[int | None, Any] | None:
    code, said = await up.batzen("sellers", "get", "seller_link")
    return (code, said) if code == wanted else None


async def test_what_people_are_told_is_listed_read_and_turned_off(up: Up) -> None:
    _, paid = await up.batzen("pay", "--amount", "12.50 CHF", "--payer", "payer_told", "--json")

    async def told() -> Any:
        return (await up.batzen("notifications", "list", "--payer", "payer_told", "--json"))[1]

    [one] = await eventually(told)
    assert (one["payment_id"], one["kind"], one["values"]["amount_minor"]) == (
        paid["payment_id"],
        "PAYMENT_RECEIVED",
        "1250",
    )
    code, said = await up.batzen("notifications", "list", "--payer", "payer_told")
    for shown in ("payment received", "CHF", paid["payment_id"], "1 unread."):
        assert shown in said, said
    as_payer = ("notifications", "read", "1", "--payer", "payer_told", "--json")
    assert (await up.batzen(*as_payer))[0] == 1  # an operator reads it, and marks the operators' own
    code, marked = await up.batzen("--as", "service", *as_payer)
    assert (code, "read_time" in marked) == (0, True), marked
    off = ("notifications", "preferences", "--payer", "payer_told", "--off", "payment_received:mail")
    code, said = await up.batzen("--as", "service", *off)
    assert (code, "payment received" in said) == (0, True), said

    switch = (
        "--switch",
        "payment_expired:payer=",
        "--operator-address",
        "ops@example.ch",
        "--time-zone",
        "Europe/Zurich",
    )
    code, said = await up.batzen("notifications", "put-policy", *switch, "--reason", "INC-8")
    for shown in ("INC-8", "ops@example.ch", "Europe/Zurich", "payment expired", "not told"):
        assert shown in said, said
    code, policy = await up.batzen("notifications", "policy", "--json")
    assert (code, policy["records"][0]["reason"]) == (0, "INC-8")


async def test_an_operator_stops_new_payments_and_takes_them_again(up: Up) -> None:
    _, begun = await up.batzen("pay", "--amount", "5 CHF", "--card", "insufficient", "--json")

    code, said = await up.batzen("starts", "pause", "--reason", "INC-7", "--message", "Back at noon.", "--for", "2h")
    assert code == 0, said
    for shown in ("New payments are stopped.", "INC-7", "Back at noon."):
        assert shown in said
    code, refused = await up.batzen("pay", "--amount", "5 CHF", "--json")
    assert (code, refused["error"]["reason"]) == (1, "STARTS_PAUSED")
    assert refused["error"]["metadata"]["public_message"] == "Back at noon."
    code, told = await up.batzen("pay", "--amount", "5 CHF")
    assert code == 1
    assert "Back at noon." in told
    assert (await up.batzen("pay", "--payment", begun["payment_id"], "--json"))[0] == 0
    assert (await up.batzen("starts", "show"))[0] == 1

    assert (await up.batzen("starts", "resume", "--reason", "over"))[0] == 0
    code, switches = await up.batzen("starts", "show", "--json")
    assert (code, [one.get("paused", False) for one in switches]) == (0, [False, True])
    assert (await up.batzen("pay", "--amount", "5 CHF", "--json"))[0] == 0
    assert (await up.batzen("starts", "pause", "--reason", "x", "--for", "soon"))[0] == 2


async def test_an_operator_sees_what_needs_one_decides_and_is_seen_to_have(up: Up) -> None:
    _, begun = await up.batzen("pay", "--amount", "5 CHF", "--card", "insufficient", "--json")
    payment_id = begun["payment_id"]
    settle, cancel = ("resolve", payment_id, "settle"), ("resolve", payment_id, "cancel")
    said = await up.typed(
        ["stuck"],
        ["attention", "list"],
        ["attention", "acknowledge", "00000000-0000-0000-0000-000000000000"],
        [*settle, "--reason", "INC-9", "--yes", "--actor", "anna"],
        [*cancel, "--reason", "INC-9", "--yes", "--actor", "anna", "--json"],
        [*cancel, "--reason", "once more", "--yes", "--actor", "bo"],
        ["actions", "--payment", payment_id],
        ["actions", "--by", "anna", "--json"],
        ["attempts", payment_id],
        ["events", "--payment", payment_id, "--json"],
        ["events", "--payment", payment_id, "--state", "parked"],
        ["figures", "--seller", "nobody"],
        ["list", "--attention"],
    )
    assert said[0] == (0, "Nothing is stuck.\n")
    assert said[1] == (0, "Nothing needs an operator.\n")
    assert (said[2][0], "ATTENTION_NOT_FOUND" in said[2][1]) == (1, True)
    assert (said[3][0], "It stands as before." in said[3][1]) == (0, True)
    assert json.loads(said[4][1])["snapshot"]["collection"] == "PAYMENT_STATE_CANCELED"
    assert (said[5][0], "RESOLUTION_DOES_NOT_FIT" in said[5][1]) == (1, True)
    for shown in ("refused: RESOLUTION_DOES_NOT_FIT", "by bo: once more", "REQUIRES_PAYMENT_METHOD (revision"):
        assert shown in said[6][1]
    decided = json.loads(said[7][1])
    assert [one["asked"]["resolution"] for one in decided] == ["RESOLUTION_CANCEL", "RESOLUTION_SETTLE_AS_SEEN"]
    assert decided[0]["after"]["snapshot"]["collection"] == "CANCELED"
    for shown in ("CANCELED  ← counts", "5.00 CHF, 0.00 CHF taken", "1 declines, the last insufficient_funds"):
        assert shown in said[8][1]
    assert {one["payment_id"] for one in json.loads(said[9][1])} <= {payment_id}
    assert said[10] == (0, "No such events came in.\n")
    assert (said[11][0], "Nothing happened from" in said[11][1]) == (0, True)
    assert (said[12][0], payment_id in said[12][1]) == (0, False)


async def test_a_refusal_is_exit_code_1_and_names_the_call_in_the_logs(up: Up) -> None:
    code, said = await up.batzen("refund", "pay_00000000000000000000000000", "--json")

    assert (code, said["error"]["reason"]) == (1, "PAYMENT_NOT_FOUND")
    code, logged = await up.batzen("logs", "status", "--correlation", said["error"]["correlation_id"])
    assert code == 0
    assert "GetPayment" in logged


README = (ROOT / "batzen" / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
"""What the README of the client shows."""


async def test_the_programs_that_the_readme_shows_take_a_payment_and_follow_it(up: Up) -> None:
    connection = json.loads((up.directory / "connection.json").read_text())
    environ = {f"BATZEN_{name.upper()}_ADDRESS": address for name, address in connection["addresses"].items()}
    environ |= {"BATZEN_TOKEN": connection["tokens"]["service"], "PATH": os.environ["PATH"]}

    outputs = []
    for text in PROGRAMS:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", text, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE
        )
        output, errors = await program.communicate()
        assert (program.returncode, errors.decode()) == (0, "")
        outputs.append(output.decode().splitlines())

    with_asyncio, without, of_webhooks, of_sellers = outputs
    assert with_asyncio[0] == "1 PAYMENT_STATE_INITIALIZED"
    assert with_asyncio[-1].endswith(" PAYMENT_STATE_SUCCEEDED")
    assert without == [f"{len(with_asyncio)} 12000"]
    assert of_webhooks == ["400"]
    assert of_sellers == ["anna gets 8500", "bruno gets 4250", "captured 5000 fee 750", "refunded -5000 fee -750"]


TYPED = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


async def test_the_commands_that_the_readme_shows_can_be_typed(up: Up) -> None:
    (text,) = TYPED
    first, *others = [shlex.split(command.removeprefix("batzen ")) for command in text.splitlines()]
    put = [("sellers", "put", seller_id, "--email", f"{seller_id}@example.com") for seller_id in ("anna", "bruno")]
    *_, (code, paid) = await up.typed(*put, first)
    assert code == 0, paid

    payment_id = paid.split()[0]
    outputs = await up.typed(*[[one.replace("pay_…", payment_id) for one in command] for command in others])

    assert [code for code, _ in outputs] == [0] * len(others), outputs
    assert "42.50 CHF" in outputs[0][1], "what bruno would give"


async def test_what_the_policy_gives_back_is_shown_and_given(up: Up) -> None:
    terms = ("policies", "put", "--refund", "48h,50%,24h", "--pay-after", "24", "--reason", "terms", "--json")
    none = ("policies", "put", "--reason", "none", "--json")
    pay = ("pay", "--sale", "seller_1=20 CHF", "--json")
    done = await up.typed(terms, none, ("policies", "list", "--json"), pay)
    assert [code for code, _ in done] == [0] * 4, done
    (put,), _, listed, paid = [json.loads(output) for _, output in done]
    assert (put["policy"]["refund"]["percent"], put["policy"]["pay_after_service_hours"]) == (50, 24)
    assert ([one["reason"] for one in listed][:2], listed[1]) == (["none", "terms"], put)

    of_policy = ("refund", paid["payment_id"], "--seller", "seller_1", "--by-policy", "--json")
    write_off = (
        "receivables",
        "write-off",
        paid["payment_id"],
        "seller_1",
        "1 CHF",
        "--reason",
        "x",
        "--yes",
        "--json",
    )
    done = await up.typed((*of_policy, "--preview"), of_policy, of_policy, write_off)
    assert [code for code, _ in done] == [0, 0, 1, 1], done
    seen, given, again, refused = [json.loads(output) for _, output in done]
    assert (seen["policy_amount"]["amount_minor"], seen["lines"][0]["seller_share_minor"]) == ("2000", "1700")
    assert (given["amount"]["amount_minor"], again["policy_lines"]) == ("2000", [])
    assert refused["error"]["reason"] == "RECEIVABLE_NOT_FOUND"


async def test_a_process_that_ends_is_started_again(up: Up) -> None:
    pid = next(pid for pid, command in _processes_of(up.directory).items() if "services.status" in command)

    os.kill(pid, signal.SIGKILL)

    await up.read_until("status is back")
    assert (await up.batzen("list", "--json"))[0] == 0


@pytest.mark.faults
async def test_ctrl_c_leaves_nothing_and_the_next_run_goes_on(up: Up) -> None:
    paid, held = await _paid_and_held(up)
    up.process.send_signal(signal.SIGINT)
    code, _, errors = await _end_of(up.process)

    assert (code, errors) == (0, "")
    assert not (up.directory / "connection.json").exists()
    assert _processes_of(up.directory) == {}

    others = {variable(name): str(port) for name, port in free_ports().items()}
    up.process = await _start(up.directory, "up", **others)
    said = await up.read_until("Ctrl-C")
    assert "knows what was paid before" in " ".join(said.split())
    done = await up.typed(
        ("capture", held, "--json"), ("refund", paid, "--json"), ("pay", "--amount", "3 CHF", "--json")
    )
    assert [code for code, _ in done] == [0, 0, 0], done
    assert json.loads(done[0][1])["state"] == "PAYMENT_STATE_SUCCEEDED"

    code, output, _ = await _run(up.directory, "down", "--json")
    assert (code, json.loads(output)["stopped"]) == (0, [str(up.directory)])
    assert await _end_of(up.process) == (0, "\nStopping …\n", "")
    code, output, _ = await _run(up.directory, "down", "--purge")
    assert (code, "stand-in.db" in output) == (0, True), output
    assert list(up.directory.iterdir()) == [], "whatever runs leave is named in purge.py"


async def _paid_and_held(up: Up) -> list[str]:
    done = await up.typed(
        ("pay", "--amount", "21 CHF", "--json"), ("pay", "--amount", "22 CHF", "--timing", "hold", "--json")
    )
    return [json.loads(output)["payment_id"] for _, output in done]
