"""The hour, chapter by chapter: what is typed, and what is to be seen then. `Hour.holds` writes each sentence down."""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.hour import checks
from tests.hour.stranger import INSTALL_S, Stranger, can_be_offline

BATZEN: Final = checks.BATZEN
UP_S: Final = 180.0
STATE_MB: Final = 380
"""Of all that the first demo makes; test tools are not there yet."""
CALLED: Final = ("batzen.orchestrator.v1.OrchestratorService", "must be at most 10000", "PAYMENT_STATE_SUCCEEDED")
LOOKS_MAX: Final = 30
"""At something that comes by itself; each look is a command, which takes half a second."""
START_CPU_S: Final = 0.3
"""What a command may take before it does anything."""
TRIES: Final = 5
"""Of what is measured; the least counts, since others use the machine, too."""
PORT_BASE: Final = 17_000
"""Away from a suite that somebody has up here."""
READ: Final = "python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())'"
"""What prints a page where there is no curl."""
PAGE_PARTS: Final = ("Payments", "Checkout pages", "Events", "Deliveries", "What goes wrong", "Accounts")
SECTIONS: Final = (
    "Amounts",
    "History",
    "Attempts at Stripe",
    "Stripe's events",
    "Ledger",
    "platform_fee",
    "stripe_fee",
)


class Hour:
    """Somebody's hour, and which sentences held."""

    def __init__(self, stranger: Stranger) -> None:
        self.stranger = stranger
        self.failed: list[str] = []
        self.paid = ""
        """The payment that was made first."""

    def chapter(self, title: str) -> None:
        """Begin another."""
        self.stranger.note(f"\n{'=' * 80}\n{title}\n{'=' * 80}")

    def holds(self, sentence: str, is_so: object, wrong: object = "") -> None:
        """Write down whether a sentence holds, and what is wrong if it does not."""
        self.stranger.note(f"{'✓' if is_so else '✗'} {sentence}{f': {wrong}' if wrong and not is_so else ''}")
        if not is_so:
            self.failed.append(sentence)

    def none(self, sentence: str, found: object) -> None:
        """Write down that nothing was found of what should not be there."""
        self.holds(sentence, not found, found)


def first_minute(hour: Hour) -> None:
    """`make demo`, where nothing was before."""
    hour.chapter("The first minute: make demo in a fresh clone")
    demo = hour.stranger.types("make demo", timeout_s=INSTALL_S)
    hour.holds("It says what is being installed", re.search(r"fetching \d+ of \d+: \S+ \d", demo.said))
    hour.holds("It says when that is done", "packages are installed after" in demo.said)
    last = "everyone was told, every seller has its part, and the books balance."
    hour.holds("All payments of the demo end as they should", demo.code == 0, f"exit {demo.code}")
    hour.none("It says so", checks.missing(" ".join(demo.said.split()), [last]))
    hour.none("Its table cuts no amount", checks.cut_amounts(demo.said))
    megabytes = int(hour.stranger.types("du -sm .batzen").said.split()[0])
    hour.holds(f"What it made is at most {STATE_MB} MB", megabytes <= STATE_MB, f"{megabytes} MB")


def coming_up(hour: Hour, beside: Callable[[], None]) -> None:
    """`make up`, what is done `beside` it, and its end."""
    hour.chapter("The suite stays up: make up")
    up = hour.stranger.begins("make up", BATZEN_PORT_BASE=str(PORT_BASE))
    try:
        said = up.until("Ctrl-C stops everything", timeout_s=UP_S)
        hour.holds("All ports move with the base", f"127.0.0.1:{PORT_BASE + 1} " in said)
        hour.holds("It says for how long a token is good", "a token that is good for" in said)
        hour.none("Each command it proposes can be typed", _not_typed(hour, said))
        beside()
    finally:
        code = up.interrupt()
    hour.holds("Ctrl-C ends it in order", code == 0 or "Stopping" in up.said, f"exit {code}")
    hour.holds("Nothing is left to connect to", not (hour.stranger.checkout / ".batzen/connection.json").exists())


def coming_back(hour: Hour) -> None:
    """`make up` another time."""
    hour.chapter("The suite again: what was paid is there")
    refused = hour.stranger.types(f"{BATZEN} up", BATZEN_DATABASE_URL="mysql://me@127.0.0.1/x")
    name = "BATZEN_DATABASE_URL cannot be used: it begins with mysql://"
    hour.holds("A wrong URL of the database is refused by name", refused.code == 1 and name in refused.said)
    paid = hour.paid
    up = hour.stranger.begins("make up", BATZEN_PORT_BASE=str(PORT_BASE))
    try:
        up.until("Ctrl-C stops everything", timeout_s=UP_S)
        shown = hour.stranger.types(f"{BATZEN} show {paid}")
        hour.holds("A payment of the run before is shown", shown.code == 0 and paid in shown.said)
        refunded = hour.stranger.types(f"{BATZEN} refund {paid}")
        hour.holds("The stand-in knows it, too: it is refunded", refunded.code == 0)
        open_page = hour.stranger.types(f'{BATZEN} pay --amount "80 CHF" --checkout --start-only').said
        page = hour.stranger.types(f"{READ} http://127.0.0.1:{PORT_BASE + 200}/")
        hour.none("The stand-in has an index page", checks.missing(page.said, PAGE_PARTS))
        links = re.findall(r"http://\S+/(\S+)", open_page)[:1] or ["no page"]
        hour.none("It leads to the page that a payer pays on", checks.missing(page.said, links))
        calling(hour)
    finally:
        up.interrupt()


def calling(hour: Hour) -> None:
    """The commands of docs/calling.md, where this suite is."""
    document = (hour.stranger.checkout / "docs/calling.md").read_text(encoding="utf-8")
    commands = "\n".join(block for block in checks.shell_blocks(document) if "buf" in block)
    script = (
        f'set -e; export PATH="$PWD/.batzen/venv/bin:$PATH" BATZEN_TOKEN=$({BATZEN} --as service token)\n{commands}'
    )
    answered = hour.stranger.types(script.replace("127.0.0.1:7", f"127.0.0.1:{PORT_BASE // 1000}"))
    hour.none("The calls of docs/calling.md are answered", checks.missing(answered.said, CALLED))
    hour.holds("They end well", answered.code == 0, f"exit {answered.code}")


def _not_typed(hour: Hour, said: str) -> list[str]:
    endless = [f"{BATZEN} listen"]
    return [hint for hint in checks.hints(said) if hint not in endless and hour.stranger.types(hint).code != 0]


def payments(hour: Hour) -> None:
    """Pay, look, call off, try again: by what was printed."""
    types = hour.stranger.types
    hour.chapter("A payment, and what is printed after it")
    paid = types(f'{BATZEN} pay --amount "100.00 CHF"')
    payment_id = hour.paid = checks.payment_id(paid.said)
    hour.holds("A payment succeeds", paid.code == 0)
    hour.holds("Hints have its real id", f"{BATZEN} show {payment_id}" in list(checks.hints(paid.said)))
    shown = next(
        (page for _ in range(LOOKS_MAX) if "stripe_fee" in (page := types(f"{BATZEN} show {payment_id}").said)), ""
    )
    hour.none("show has history, amounts, attempts, webhooks, ledger", checks.missing(shown, SECTIONS))
    heard = types(f"{BATZEN} listen --since 1h --payment {payment_id} --count 1")
    hour.holds("listen shows Stripe's events", heard.code == 0 and "evt_" in heard.said)

    held = types(f'{BATZEN} pay --amount "200 CHF" --timing hold')
    [cancel] = [hint for hint in checks.hints(held.said) if " cancel " in hint] or ["false"]
    hour.holds("cancel is proposed, and releases a hold", "⊘ canceled" in types(cancel).said)
    declined = types(f'{BATZEN} pay --amount "5 CHF" --card insufficient')
    [again] = list(checks.hints(declined.said)) or ["false"]
    hour.holds("Another card is proposed, and pays", types(again).code == 0)

    hour.chapter("Limits, in numbers, before there is a payment")
    counting = f"{BATZEN} list --limit 200 --json | grep -c '\"payment_id\"'"
    before = types(counting).said
    help_text = types(f"{BATZEN} pay --help").said
    hour.none(
        "Help says them", checks.missing(" ".join(help_text.split()), ["from 0.50 to 999'999.99 CHF", "366 days"])
    )
    for amount in ("0.10 CHF", "1'000'000 CHF"):
        refused = types(f'{BATZEN} pay --amount "{amount}"')
        numbers = checks.missing(refused.said, ["minimum: 0.50 CHF", "maximum: 999'999.99 CHF"])
        hour.holds(f"{amount} is refused with them", refused.code == 2 and not numbers, numbers)
    hour.holds("No payment was made of it", types(counting).said == before)


def journeys(hour: Hour) -> None:
    """Trigger what there is, and read the list."""
    types = hour.stranger.types
    hour.chapter("Journeys and events to look at")
    hour.none("trigger lists them", checks.missing(types(f"{BATZEN} trigger").said, ["3ds", "dispute"]))
    for name in ("3ds", "hold-released", "refunded", "declined"):
        hour.holds(f"The journey {name} goes as it should", types(f"{BATZEN} trigger {name}").code == 0)
    disputed = checks.payment_id(types(f'{BATZEN} pay --amount "44 CHF"').said)
    event = types(f"{BATZEN} trigger dispute --payment {disputed}")
    hour.holds("A bank disputes a payment", event.code == 0 and "! disputed" in event.said)
    types(f'{BATZEN} pay --amount "60 CHF" --timing hold')
    types(f'{BATZEN} pay --amount "60 CHF" --timing scheduled --at 2d')
    types(f'{BATZEN} pay --amount "60 CHF" --card insufficient')

    hour.chapter("The list, in 80 columns and without colour")
    listed = types(f"{BATZEN} list --limit 50").said
    hour.none("No line is wider", checks.too_wide(listed))
    hour.none("No id is cut", checks.cut_ids(listed))
    hour.none("No sign stands for two states", checks.shared_signs(listed))
    hour.holds("There were enough states to tell", len(checks.signs(listed)) >= 6, checks.signs(listed))


def words(hour: Hour) -> None:
    """Version, help, what is refused, and how fast it is."""
    types = hour.stranger.types
    hour.chapter("Help, version, and what is refused")
    hour.holds(
        "--version names version and commit",
        re.search(r"^batzen [\d.]+ \(commit [0-9a-f]{40}", types(f"{BATZEN} --version").said),
    )
    for command in ("", "pay", "list", "up", "sellers put", "trigger"):
        said = types(f"{BATZEN} {command} --help").said
        hour.none(f"Help of {command or 'all'} has no names of types", checks.typed_values(said))
        hour.none(f"Help of {command or 'all'} fits", checks.too_wide(said))
    for refused, name in (
        (types(f"{BATZEN} list", BATZEN_STATUS_ADDRESS="http://127.0.0.1:7003"), "BATZEN_STATUS_ADDRESS"),
        (types(f"{BATZEN} --gateway nowhere list"), "--gateway"),
    ):
        hour.holds(f"A wrong URL is refused by name: {name}", refused.code == 2 and name in refused.said)
    taken = types(f"{BATZEN} up --port-base {PORT_BASE}")
    hour.holds("A taken port says how to move all", taken.code == 1 and "BATZEN_PORT_BASE=" in taken.said)
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 80:
        system = types(f"{BATZEN} up --port-base 19000 --port bff=80")
        hour.holds("A port of the system says so", system.code == 1 and "for the system alone" in system.said)
    for command in ("--version", "--help", "list", "pay --help", "sellers --help"):
        least = min(_cpu_s(hour, command) for _ in range(TRIES))
        hour.holds(f"`batzen {command}` takes at most {START_CPU_S} s of CPU", least <= START_CPU_S, f"{least:.2f} s")


def _cpu_s(hour: Hour, command: str) -> float:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    before = used()
    hour.stranger.types(f"{BATZEN} {command} > /dev/null")
    return used() - before


def real_stripe(hour: Hour) -> None:
    """Keys that will not do, and what is missing for Stripe's test mode."""
    types = hour.stranger.types
    hour.chapter("Stripe itself")
    live = types(f"{BATZEN} up", STRIPE_API_KEY="sk_live_none")
    hour.holds("A live key is refused in one sentence", live.code == 1 and "is a live key" in live.said)
    wrong = {"STRIPE_API_KEY": "sk_test_none", "BATZEN_STRIPE_POLL_EVERY_S": "soon"}
    poll = types(f"{BATZEN} up", **wrong)
    name = "BATZEN_STRIPE_POLL_EVERY_S is 'soon'"
    hour.holds("A wrong pause of the poll is refused by name", poll.code == 1 and name in poll.said)
    check = types(f"{BATZEN} stripe check")
    hour.holds("stripe check says what is missing", check.code == 1 and "STRIPE_API_KEY is not set" in check.said)


def other_languages(hour: Hour) -> None:
    """What is made for those who read, or call from elsewhere."""
    types = hour.stranger.types
    hour.chapter("The reference, and stubs for TypeScript")
    made = types("make docs", timeout_s=INSTALL_S)
    index = hour.stranger.checkout / ".batzen/docs/index.html"
    hour.holds("make docs makes pages to open", made.code == 0 and index.exists(), f"exit {made.code}")
    wheel = types("make wheel", timeout_s=INSTALL_S)
    hour.holds("make wheel makes a wheel", wheel.code == 0 and ".whl" in wheel.said, f"exit {wheel.code}")
    if shutil.which("npm") is None:
        hour.stranger.note("- Not tried: there is no npm here.")
        return
    stubs = types("make stubs-ts", timeout_s=INSTALL_S)
    hour.holds("make stubs-ts makes a package", stubs.code == 0 and ".tgz" in stubs.said, f"exit {stubs.code}")


def leaving(hour: Hour) -> None:
    """The end: nothing stays."""
    hour.chapter("All that was made goes")
    cleaned = hour.stranger.types("make clean")
    hour.holds("make clean ends well", cleaned.code == 0, f"exit {cleaned.code}")
    left = hour.stranger.types("git status --short --ignored").said.strip()
    hour.none("Nothing that was made is left", left)


def offline(hour: Hour) -> None:
    """The same without a network."""
    hour.chapter("Without a network")
    if not can_be_offline():
        hour.stranger.note("- Not tried: this machine gives us no network namespace (unshare --net).")
        return
    demo = hour.stranger.types("make demo", timeout_s=UP_S, offline=True)
    hour.holds("The demo runs without a network", demo.code == 0, f"exit {demo.code}")
    away = hour.stranger.types(f"{BATZEN} up", offline=True, STRIPE_API_KEY="sk_test_none")
    sentences = [line for line in away.said.splitlines() if line.startswith("✗")]
    is_said = away.code != 0 and len(sentences) == 1 and "Traceback" not in away.said
    hour.holds("Stripe that is away is said in one sentence", is_said, away.said)


def everything_said(hour: Hour) -> None:
    """What holds of all that was printed."""
    hour.chapter("Of all that was printed")
    said = "".join(hour.stranger.all_said)
    hour.none("One way to call batzen", checks.odd_calls(said))
    hour.none("No hint leaves something to be filled in", checks.blanks(said))
    hour.holds("No traceback", "Traceback (most recent" not in said)


def beside_the_suite(hour: Hour) -> None:
    """What is done while the suite is up. Other parts of the hour are added here."""
    payments(hour)
    journeys(hour)
    words(hour)
