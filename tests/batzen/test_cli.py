"""The command line, as far as it goes without a suite; tests/local has the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.cells import cell_len
from typer.main import get_command
from typer.testing import CliRunner, Result

from batzen.cli import money, pay, states
from batzen.cli.app import app
from batzen.cli.cards import CARDS, payment_method_id
from batzen.cli.command_classes import Outline
from batzen.cli.commands import COMMANDS as TABLE
from batzen.cli.logs import Following
from batzen.cli.refusing import ADVICE, tell
from batzen.errors import by_reason, refused
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.version import build
from local.processes import ROOT
from services.gateway.stripe_api import currencies
from services.orchestrator.domain import charge_plan, policies
from services.orchestrator.wire import requests

COMMAND_LINE = get_command(app)
WIDE = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a suite in it or above."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer makes all commands anew for each that is run, which takes it longer than any of them takes."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: COMMAND_LINE)


def batzen(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={**WIDE, **environment})


def _whole() -> dict[str, Any]:
    """Return every command, imported; those of a group under `group command`."""
    found: dict[str, Any] = {}
    for name, entry in TABLE.items():
        command = entry.loaded(name)
        inner = getattr(command, "commands", {})
        found |= {f"{name} {below}": one for below, one in inner.items()} or {name: command}
    return found


WHOLE = _whole()


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    said = {name: entry.loaded(name).help for name, entry in TABLE.items()}

    assert {name: entry.help for name, entry in TABLE.items()} == said


def test_help_shows_a_line_of_each_command_and_imports_none() -> None:
    root = get_command(app)
    said = CliRunner().invoke(app, ["--help"], env=WIDE).output

    assert all(isinstance(command, Outline) for command in root.commands.values())  # type: ignore[attr-defined]
    assert [name for name in TABLE if f"│ {name} " not in said] == []


HEAVY = {"aiohttp", "asyncpg", "fastapi", "httpx", "jinja2", "pydantic", "sandbox", "services", "sqlalchemy", "stripe"}
"""What no command of the client needs to start."""


@pytest.mark.parametrize(
    ("arguments", "modules_max"),
    [(["--version"], 200), (["--help"], 380), (["list"], 450), (["pay", "--help"], 570), (["up", "--help"], 380)],
)
def test_a_command_starts_with_few_modules(arguments: list[str], modules_max: int) -> None:
    program = "import sys; from batzen.__main__ import main; sys.argv[1:] = sys.argv[1:]\n"
    program += "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nowhere"}
    process = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd="/", env=environ, capture_output=True, text=True, check=True
    )
    modules = set(process.stderr.splitlines()[-1].split())

    assert {name for name in HEAVY if name in modules} == set()
    assert len(modules) <= modules_max, sorted(modules)


def test_no_command_imports_a_loop_or_a_client_before_it_is_run() -> None:
    modules = sorted({entry.module for entry in TABLE.values()})
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    program += "print(*{'asyncio', 'grpc', 'ssl'}.intersection(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert process.stdout.split() == []


def test_each_state_has_a_sign_of_its_own() -> None:
    signs = {states.name(state): states.sign(state).plain for state in PaymentState.values() if state}

    assert len(set(signs.values())) == len(signs), signs
    assert {cell_len(sign) for sign in signs.values()} == {1}
    assert "?" not in signs.values()


def test_help_says_the_limits_that_the_services_have() -> None:
    for code in ("CHF", "EUR"):
        limits = currencies.limits(code)
        least, most = (money.shown(amount, code) for amount in (limits.minimum_minor, limits.maximum_minor))
        assert pay.AMOUNTS.replace("CHF or EUR", code) == f"from {least.removesuffix(f' {code}')} to {most}"
    assert (pay.SELLERS_MAX, pay.BOOKINGS_MAX) == (requests.SELLERS_MAX, requests.BOOKINGS_MAX)
    assert pay.NAME_CHARACTERS_MAX == requests.NAME_CHARACTERS_MAX
    assert (charge_plan.AHEAD_MAX.days, policies.HOLD_MAX.days) == (pay.AHEAD_DAYS_MAX, pay.HOLD_DAYS_MAX)
    assert pay.AMOUNTS in " ".join(batzen("pay", "--help").output.split())


def test_it_says_its_version_and_commit() -> None:
    said = batzen("--version")

    assert said.exit_code == 0
    assert said.output == f"batzen {build()}\n"


WITHOUT_JSON = ("token", "up")


@pytest.mark.parametrize("command", WHOLE)
def test_every_command_explains_itself_with_an_example_in_80_columns_and_can_speak_json(command: str) -> None:
    said = batzen(*command.split(), "--help", COLUMNS="80")

    assert said.exit_code == 0
    assert "Example" in said.output
    assert "--json" in said.output or command in WITHOUT_JSON
    assert re.findall(r"<(?:bool|str|int|float|int range|float range)>", said.output) == [], "as people say it"
    assert max(map(len, said.output.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ["pay"],
        ["pay", "--amount", "100"],
        ["pay", "--amount", "0 CHF"],
        ["pay", "--amount", "1.005 CHF"],
        ["pay", "--amount", "1 CHF", "--card", "platinum"],
        ["pay", "--amount", "1 CHF", "--3ds", "maybe"],
        ["pay", "--amount", "1 CHF", "--payment", "pay_1"],
        ["pay", "--amount", "1 CHF", "--timing", "later"],
        ["pay", "--amount", "1 CHF", "--timing", "scheduled"],
        ["pay", "--amount", "1 CHF", "--offer-timing", "scheduled"],
        ["pay", "--amount", "1 CHF", "--offer-timing", "hold", "--at", "2d"],
        ["resume", "pay_" + "a" * 26, "--timing", "someday"],
        ["pay", "--amount", "1 CHF", "--at", "2d"],
        ["pay", "--amount", "1 CHF", "--timing", "scheduled", "--at", "soon"],
        ["pay", "--amount", "1 CHF", "--timing", "scheduled", "--at", "2d", "--zone", "Europe/Nowhere"],
        ["pay", "--amount", "1 CHF", "--capture-at", "2d"],
        ["pay", "--amount", "1 CHF", "--release"],
        ["capture", "pay_1", "--amount", "0 CHF"],
        ["reschedule", "pay_1"],
        ["retry", "pay_1", "--with", "pigeon"],
        ["preserve", "pay_1", "--for", "a while"],
        ["find"],
        ["notifications", "list", "--payer", "a", "--seller", "b"],
        ["notifications", "preferences", "--payer", "a", "--off", "payment_received"],
        ["notifications", "put-policy", "--reason", "x", "--switch", "payment_received:payer"],
        ["notifications", "put-policy", "--reason", "x", "--switch", "payment_received:payer=pigeon"],
        ["find", "--booking", "b1", "--stripe", "pi_1"],
        ["attach-booking", "pay_1"],
        ["methods", "add"],
        ["methods", "remove", "payer_1"],
        ["list", "--state", "happy"],
        ["events", "--state", "happy"],
        ["figures", "--since", "1.11.2026"],
        ["figures", "--by", "week"],
        ["logs", "--level", "LOUD"],
        ["ledger", "entries", "--since", "lately"],
        ["ledger", "balances", "--csv", "--json"],
        ["refund"],
        ["refund", "pay_1", "--line", "20 CHF"],
        ["refund", "pay_1", "--line", "1=20 CHF", "--seller", "anna"],
        ["refund", "pay_1", "--by-policy", "--amount", "20 CHF"],
        ["pay", "--sale", "anna=1 CHF", "--amount", "1 CHF"],
        ["pay", "--sale", "anna=1 CHF", "--seller", "bruno"],
        ["pay", "--sale", "1 CHF"],
        ["transfers", "list"],
        ["receivables", "write-off", "pay_1", "anna", "--reason", "x"],
        ["receivables", "write-off", "pay_1", "anna", "1 CHF", "--reason", "x", "--json"],
        ["policies", "put"],
        ["policies", "put", "--refund", "soon", "--reason", "x"],
        ["policies", "put", "--refund", "24h,50%,48h", "--reason", "x"],
        ["resolve", "pay_1", "cancel", "--reason", "x", "--json"],
        ["resolve", "pay_1", "cancel", "--reason", "x", "--attention", "STUCK", "--yes"],
        ["resolve", "pay_1", "settle", "--reason", "x", "--surplus", "1 CHF", "--yes"],
        ["resolve", "pay_1", "pray", "--reason", "x"],
        ["stuck", "--for", "long"],
        ["hooks", "add", "reservations", "--reason", "x"],
        ["hooks", "rotate", "reservations", "--at-once", "--overlap", "1d", "--reason", "x"],
        ["hooks", "deliveries", "--state", "lost"],
        ["hooks", "replay", "--reason", "x"],
        ["hooks", "replay", "--subscription", "a", "--reason", "x"],
        ["hooks", "replay", "id", "--subscription", "a", "--since", "1d", "--reason", "x"],
        ["unheard-of"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert batzen(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["list"], ["logs"], ["token"], ["refund", "pay_1"]])
def test_without_a_suite_it_says_how_to_start_one(arguments: list[str]) -> None:
    said = batzen(*arguments)

    assert said.exit_code == 3
    assert "make up" in said.output


def test_nobody_listening_is_exit_code_3_and_no_traceback() -> None:
    said = batzen("--token", "any", "--status", "127.0.0.1:1", "list", "--json")

    assert said.exit_code == 3
    assert json.loads(said.output)["error"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("http://127.0.0.1:7003", False),
        ("127.0.0.1", False),
        ("127.0.0.1:70000", False),
        ("127.0.0.1:port", False),
        ("dns:///status:7003", True),
        ("[::1]:7003", True),
        ("unix:/run/status", True),
    ],
)
def test_what_is_no_address_is_refused_by_the_name_of_what_says_it(address: str, is_taken: bool) -> None:
    for arguments, environ, name in (
        (["--status", address, "--token", "x", "token"], {}, "--status"),
        (["--token", "x", "token"], {"BATZEN_STATUS_ADDRESS": address}, "BATZEN_STATUS_ADDRESS"),
    ):
        said = batzen(*arguments, **environ)

        assert said.exit_code == (0 if is_taken else 2)
        assert (f"{name} is '{address}'" in said.output) is not is_taken


def test_options_win_over_environment_and_file(nowhere: Path) -> None:
    file = nowhere / "connection.json"
    file.write_text(json.dumps({"tokens": {"operator": "of-the-file", "payer": "of-the-payer"}}))
    named = {"BATZEN_CONNECTION": str(file)}

    assert batzen("token", **named).output == "of-the-file\n"
    assert batzen("--as", "payer", "token", **named).output == "of-the-payer\n"
    assert batzen("token", BATZEN_TOKEN="of-the-environment", **named).output == "of-the-environment\n"
    assert batzen("--token", "of-the-option", "token", BATZEN_TOKEN="no", **named).output == "of-the-option\n"


def test_the_file_of_a_suite_is_found_from_a_folder_below(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / ".batzen").mkdir()
    (nowhere / ".batzen/connection.json").write_text(json.dumps({"tokens": {"operator": "found"}}))
    (nowhere / "deep/down").mkdir(parents=True)
    monkeypatch.chdir(nowhere / "deep/down")

    assert batzen("token").output == "found\n"


def test_a_broken_file_is_named(nowhere: Path) -> None:
    file = nowhere / "connection.json"
    file.write_text("{")

    said = batzen("list", BATZEN_CONNECTION=str(file))

    assert said.exit_code == 3
    assert "connection.json" in "".join(said.output.split())  # a long path is wrapped


def test_logs_are_merged_by_time_and_filtered(nowhere: Path) -> None:
    def line(second: int, service: str, **fields: str) -> str:
        time = f"2030-05-01T12:00:{second:02}.000+00:00"
        return (
            json.dumps({"time": time, "level": "INFO", "service": service, "message": f"at {second}", **fields}) + "\n"
        )

    (nowhere / "status.log").write_text(line(1, "status") + line(3, "status", correlation_id="wanted"))
    (nowhere / "gateway.log").write_text(line(2, "gateway", level="ERROR") + "no json\n")

    def shown(*arguments: str) -> list[str]:
        output = batzen("logs", "--folder", str(nowhere), "--json", *arguments).output
        return [json.loads(text)["message"] for text in output.splitlines()]

    assert [message for message in shown() if message != "no json"] == ["at 1", "at 2", "at 3"]
    assert shown("--correlation", "wanted") == ["at 3"]
    assert {"at 2", "no json"} == set(shown("gateway"))
    assert shown("--level", "ERROR") == ["at 2"]


def test_the_lines_of_one_payment_are_found_in_every_service(nowhere: Path) -> None:
    def line(second: int, service: str, correlation: str, payment: str | None = None) -> str:
        fields = {"time": f"2030-05-01T12:00:{second:02}.000+00:00", "service": service, "message": f"at {second}"}
        about = {} if payment is None else {"payment_id": payment}
        return json.dumps({"level": "INFO", **fields, "correlation_id": correlation, **about}) + "\n"

    (nowhere / "pricing.log").write_text(line(1, "pricing", "start") + line(2, "pricing", "of-another"))
    (nowhere / "status.log").write_text(line(3, "status", "start", "pay_1") + line(4, "status", "of-another", "pay_2"))
    (nowhere / "gateway.log").write_text(line(5, "gateway", "evt_1", "pay_1") + line(6, "gateway", "start", "pay_2"))
    (nowhere / "orchestrator.log").write_text(line(7, "orchestrator", "start", "pay_1") + "no json\n")

    output = batzen("logs", "--folder", str(nowhere), "--json", "--payment", "pay_1").output
    assert [json.loads(text)["message"] for text in output.splitlines()] == ["at 1", "at 3", "at 5", "at 7"]


def test_a_line_that_turns_out_to_be_about_the_payment_is_shown_late() -> None:
    following = Following("pay_1")
    early, other = {"correlation_id": "start", "message": "quoted"}, {"correlation_id": "x", "message": "other"}

    assert following.concerned([early, other]) == []
    named = {"correlation_id": "start", "payment_id": "pay_1", "message": "started"}
    assert following.concerned([named]) == [early, named]
    assert following.concerned([{"correlation_id": "start", "message": "later"}]) == [
        {"correlation_id": "start", "message": "later"}
    ]


def test_advice_is_given_for_reasons_that_there_are_and_by_commands_that_there_are() -> None:
    assert {reason.partition("/")[0] for reason in ADVICE} <= set(by_reason)
    proposed = {found for text in ADVICE.values() for found in re.findall(r"\{batzen\} ([a-z-]+)", text)}
    assert proposed <= set(TABLE)


def test_a_service_that_is_away_is_named_with_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(
        grpc.StatusCode.UNAVAILABLE,
        message="A service behind this one is away.",
        reason="DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "gateway"},
    )
    tell(error, as_json=False)

    said = capsys.readouterr().err
    assert "dependency: gateway" in said
    assert "logs gateway\n" in said


def test_amounts_of_a_refusal_are_written_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    limits = {"total_minor": "10", "minimum_minor": "50", "step_minor": "1", "currency_code": "CHF"}
    tell(
        refused(grpc.StatusCode.INVALID_ARGUMENT, message="No.", reason="AMOUNT_NOT_CHARGEABLE", metadata=limits),
        as_json=False,
    )

    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines[1:4] == ["No.", "total: 0.10 CHF", "minimum: 0.50 CHF"]


@pytest.mark.parametrize(
    ("message", "given", "said"),
    [
        ("It must be 50 to 99999999 minor units of CHF, in steps of 1.", {}, "It must be 0.50 CHF to 999'999.99 CHF."),
        ("It must be 0 to 500 minor units of ISK, in steps of 100.", {}, "be 0 ISK to 500 ISK, in steps of 100 ISK."),
        ("It must be at most 500 minor units.", {"amount": Money(currency_code="JPY")}, "It must be at most 500 JPY."),
        ("At most 500 minor units.", {"line": [("a", Money(currency_code="CHF"))]}, "At most 5.00 CHF."),
        ("It must be at most 500 minor units.", {"amount": None, "line": []}, "It must be at most 500 minor units."),
        ("`amount.amount_minor`: must be 1 to 90000", {"amount": Money(currency_code="CHF")}, "0.01 CHF to 900.00 CHF"),
        ("`amount.amount_minor`: must be at most the total", {}, "must be at most the total"),
        ("`lines`: must be 1 to 100", {"amount": Money(currency_code="CHF")}, "`lines`: must be 1 to 100"),
    ],
)
def test_a_limit_is_said_as_one_types_it(
    capsys: pytest.CaptureFixture[str], message: str, given: dict[str, Any], said: str
) -> None:
    tell(refused(grpc.StatusCode.INVALID_ARGUMENT, message=message, reason="X"), as_json=False, given=given)

    assert said in " ".join(capsys.readouterr().err.split())


def test_an_amount_beside_a_refusal_has_the_currency_that_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(
        grpc.StatusCode.FAILED_PRECONDITION, message="No.", reason="X", metadata={"refundable_minor": "2000"}
    )
    tell(error, as_json=False, given={"amount": Money(currency_code="CHF")})
    tell(error, as_json=False)

    assert [line.strip() for line in capsys.readouterr().err.splitlines() if "refundable" in line] == [
        "refundable: 20.00 CHF", "refundable_minor: 2000",
    ]  # fmt: skip


def test_cards_have_names_and_ids() -> None:
    assert "pm_card_visa" == payment_method_id("Visa") == payment_method_id("pm_card_visa")
    assert CARDS["insufficient"] == "pm_card_chargeDeclinedInsufficientFunds"


def test_the_signs_that_the_documents_show_are_those_of_the_states() -> None:
    text = (ROOT / "docs/command-line.md").read_text()
    told = {state: sign for sign, state in re.findall(r"\| `(\S)` \| ([a-z ]+?) (?=\|)", text)}

    assert told == {states.label(one).plain[2:]: states.sign(one).plain for one in PaymentState.values() if one}
