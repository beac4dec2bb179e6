"""`batzen logs`: the JSON logs of the local suite, merged by time and readable."""

from __future__ import annotations

import heapq
import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from batzen.cli import options
from batzen.cli.output import Exit, console, error_console, refuse
from batzen.cli.session import Session

POLL_S: Final = 0.2
"""Between two looks for new lines."""
READ_BYTES_MAX: Final = 4_000_000
"""From the end of each file; a line has a few hundred bytes."""
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
STYLES: Final = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim"}
SAID: Final = frozenset(
    {"time", "level", "service", "message", "logger", "method", "code", "duration_ms", "peer", "exception"}
)
ERROR_LINE: Final = re.compile(r"[\w.]*[a-z]\w*(:|$)")
EPILOG: Final = """Examples:

batzen logs                                    (all services, the last lines)

batzen logs gateway --follow

batzen logs --correlation 3f2a…                (all that one call caused)

batzen logs --payment pay_0Ab…                 (one payment, through all services)"""
PENDING_MAX: Final = 5_000
"""Lines that are kept while a payment is followed, since a later one may tell that they are about it."""

Line = dict[str, Any]


def logs(
    context: typer.Context,
    *,
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="Only this process, such as gateway.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 40,
    level: Annotated[str, typer.Option(help="This level and above: DEBUG, INFO, WARNING, ERROR.")] = "INFO",
    correlation: Annotated[
        str | None, typer.Option(metavar="ID", show_default=False, help="Only what belongs to this correlation id.")
    ] = None,
    payment: Annotated[
        str | None,
        typer.Option(metavar="ID", show_default=False, help="Only what is about this payment, in every service."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(show_default=False, help="Where the logs are. Default: those of `make up`.")
    ] = None,
    traces: Annotated[bool, typer.Option("--traces", help="Whole stack traces, not just their last line.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the logs of the suite that runs on this machine."""
    if level.upper() not in LEVELS:
        refuse(f"There is no level {level!r}; there are {', '.join(LEVELS)}.")
    from batzen.cli.connection import NotConnected  # noqa: PLC0415 help needs no client, and starts faster

    session: Session = context.obj
    try:
        where = folder or session.connect().logs
    except NotConnected:
        where = None
    if where is None or not where.is_dir():
        error_console.print("There are no logs here. Start the suite with `make up`, or name their --folder.")
        raise typer.Exit(int(Exit.UNREACHABLE))
    files = [path for path in sorted(where.glob("*.log")) if not path.name.endswith(".previous.log")]
    if service is not None:
        files = [path for path in files if path.stem == service]
        if not files:
            refuse(f"There is no log of {service!r} in {where}.")

    def wanted(line: Line) -> bool:
        importance = LEVELS.index(line["level"]) if line.get("level") in LEVELS else len(LEVELS)
        return importance >= LEVELS.index(level.upper()) and correlation in (None, line.get("correlation_id"))

    tails = [_Tail(path) for path in files]
    following = None if payment is None else Following(payment)

    def news() -> list[Line]:
        come = _merged(tails)
        return [line for line in (come if following is None else following.concerned(come)) if wanted(line)]

    for line in news()[-lines:] if lines else []:
        _show(line, as_json=as_json, traces=traces)
    try:
        while follow:
            time.sleep(POLL_S)
            for line in news():
                _show(line, as_json=as_json, traces=traces)
    except KeyboardInterrupt:
        raise typer.Exit(int(Exit.OK)) from None


class Following:
    """What is about one payment: lines that name it, and those of a call that does and that name no other.

    A call often learns which payment it is about at its end, when services that it asked have logged theirs already.
    """

    def __init__(self, payment_id: str) -> None:
        self._payment_id = payment_id
        self._correlations: set[str] = set()
        self._pending: deque[Line] = deque(maxlen=PENDING_MAX)

    def concerned(self, come: Iterable[Line]) -> list[Line]:
        """Return, of the lines that came and of those before, what is now known to be about the payment."""
        lines = [*self._pending, *come]
        self._pending.clear()
        self._correlations |= {
            str(line["correlation_id"])
            for line in lines
            if line.get("payment_id") == self._payment_id and "correlation_id" in line
        }
        found = []
        for line in lines:
            if self._is_concerned(line):
                found.append(line)
            elif "payment_id" not in line and "correlation_id" in line:
                self._pending.append(line)
        return found

    def _is_concerned(self, line: Line) -> bool:
        if "payment_id" in line:
            return bool(line["payment_id"] == self._payment_id)
        return line.get("correlation_id") in self._correlations


class _Tail:
    """The lines of one file that were not read yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = max(0, path.stat().st_size - READ_BYTES_MAX)
        self._file_id: int | None = None

    def __iter__(self) -> Iterator[Line]:
        try:
            with self._path.open("rb") as file:
                file_id = self._path.stat().st_ino
                if self._file_id not in (None, file_id):  # a new run began a new log
                    self._at = 0
                self._file_id = file_id
                file.seek(self._at)
                text = file.read()
        except FileNotFoundError:
            return
        whole, newline, _ = text.rpartition(b"\n")
        self._at += len(whole) + len(newline)
        for line in whole.splitlines():
            if line.strip():
                yield self._parsed(line.decode(errors="replace"))

    def _parsed(self, line: str) -> Line:
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = None
        # What is no JSON comes from below our logging: an interpreter that could not start, a library that prints.
        return parsed if isinstance(parsed, dict) else {"service": self._path.stem, "message": line, "level": "WARNING"}


def _merged(tails: list[_Tail]) -> list[Line]:
    return list(heapq.merge(*tails, key=lambda line: str(line.get("time", ""))))


def _gist(exception: str) -> str:
    """Return the line of a stack trace that names the last error."""
    named = [line for line in exception.splitlines() if ERROR_LINE.match(line)]
    return named[-1] if named else exception.splitlines()[-1]


def _show(line: Line, *, as_json: bool, traces: bool) -> None:
    if as_json:
        print(json.dumps(line, ensure_ascii=False), flush=True)
        return
    level = str(line.get("level", ""))
    text = Text(str(line.get("time", ""))[11:23].ljust(12), style="dim")
    text.append(f"  {line.get('service', ''):<13}", style="cyan")
    text.append(f"{level:<8}", style=STYLES.get(level, ""))
    if "method" in line:
        text.append(str(line["method"]).rpartition(".")[2])
        text.append(f"  {line.get('code', '')}", style="" if line.get("code") == "OK" else "yellow")
        text.append(f"  {line.get('duration_ms', '')} ms", style="dim")
    else:
        text.append(str(line.get("message", "")))
    rest = {key: value for key, value in line.items() if key not in SAID}
    if rest:
        text.append("  " + " ".join(f"{key}={value}" for key, value in rest.items()), style="dim")
    if "exception" in line:
        exception = str(line["exception"])
        text.append("\n" + (exception if traces else f"  {_gist(exception)}"), style="red")
    console.print(text, soft_wrap=True)
