"""One run of `batzen import` through a file: what is sent, what came of it, and where the next run goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from rich.text import Text

from batzen.cli.output import Exit, console, error_console, print_json_line, refuse
from batzen.cli.program import program
from batzen.errors import Aborted, DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable
from batzen.gateway.v1 import imports_pb2 as gateway_pb
from batzen.imports import LINE_BYTES_MAX, RecordError, read_line
from batzen.orchestrator.v1.imports_pb2 import ImportRecord, ImportRecordsRequest, ImportRecordsResponse

if TYPE_CHECKING:
    from batzen.client import Client

RECORDS_MAX: Final = 50
"""Of one call, as the server says."""
BYTES_MAX: Final = 512 * 1024
"""Of one call; a server takes more."""
CALLS_AT_ONCE: Final = 4
READ_BYTES: Final = 1024 * 1024
"""Of what a run before has read, at once."""
PROGRESS_EVERY: Final = 5_000
"""Lines between two that say how far it is."""
TRIES_MAX: Final = 30
"""Of one call that nobody answers: about five minutes. Whoever starts the command again goes on from there."""
REST_MAX_S: Final = 15.0
AWAY: Final = (Unavailable, ResourceExhausted, Aborted, DeadlineExceeded)

Outcome = ImportRecordsResponse.Outcome
_RESULTS: Final = {
    gateway_pb.IMPORT_RESULT_IMPORTED: "imported",
    gateway_pb.IMPORT_RESULT_UNCHANGED: "unchanged",
    gateway_pb.IMPORT_RESULT_REFUSED: "refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one line."""

    line: int
    record_id: str = ""
    type: str = ""
    result: str = "refused"
    payment_id: str = ""
    reason: str = ""
    field: str = ""
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a file was read, by what everything until there was answered."""

    bytes: int = 0
    lines: int = 0
    digest: str = ""
    """Of the file until there: another file begins anew."""
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    end: int
    """Where the next begins."""
    record: ImportRecord | None
    problem: RecordError | None = None


class Run:
    """One run through a file."""

    def __init__(self, client: Client, file: Path, *, dry_run: bool, actor_id: str, as_json: bool) -> None:
        self._client = client
        self._file = file
        self._dry_run = dry_run
        self._actor_id = actor_id
        self._as_json = as_json
        self._kept = file.with_name(f"{file.name}.progress")
        self._progress = Progress()

    async def whole(self, *, from_start: bool) -> Exit:
        """Send what was not answered yet, and say what came of all."""
        with self._file.open("rb") as opened:
            hashed = self._begin(opened, from_start=from_start)
            told = self._progress.lines
            for group in _groups(_lines(opened, self._progress)):
                await self._send(group)
                read = self._read_again(opened, group[-1][-1].end)
                hashed.update(read)
                self._advance(group[-1][-1], hashed.hexdigest())
                if self._progress.lines - told >= PROGRESS_EVERY and not self._as_json:
                    told = self._progress.lines
                    error_console.print(Text(f"{told} lines: {_summary(self._progress.counts)}", style="dim"))
        self._kept.unlink(missing_ok=True)
        return self._tell()

    def _begin(self, opened: BinaryIO, *, from_start: bool) -> Any:
        """Go to where a run before got, if that was through this file."""
        hashed = hashlib.sha256()
        if self._dry_run or from_start or not self._kept.exists():
            return hashed
        kept = _read_progress(self._kept)
        prefix = hashlib.sha256()
        while (left := kept.bytes - opened.tell()) > 0 and (read := opened.read(min(left, READ_BYTES))):
            prefix.update(read)
        if kept.bytes and prefix.hexdigest() == kept.digest:
            self._progress = kept
            if not self._as_json:
                error_console.print(Text(f"goes on after line {kept.lines}", style="dim"))
            return prefix
        error_console.print(Text("the file is another than the run before read: it begins anew", style="yellow"))
        opened.seek(0)
        return hashed

    def _read_again(self, opened: BinaryIO, until: int) -> bytes:
        """Return what was sent since, for the digest; and be where reading goes on."""
        place = opened.tell()
        opened.seek(self._progress.bytes)
        read = opened.read(until - self._progress.bytes)
        opened.seek(place)
        return read

    async def _send(self, group: list[list[_Line]]) -> None:
        rows = await asyncio.gather(*(self._rows(batch) for batch in group))
        counts = Counter(self._progress.counts)
        for row in (row for batch in rows for row in batch):
            counts[row.result] += 1
            if self._as_json:
                print_json_line(asdict(row))
            elif row.result == "refused":
                console.print(Text(f"line {row.line}: {row.record_id or '?'}: {row.reason} {row.field}: {row.detail}"))
        self._progress.counts = dict(counts)

    async def _rows(self, batch: list[_Line]) -> list[Row]:
        """Return what came of the lines of one call, in their order."""
        sent = [(line, line.record) for line in batch if line.record is not None]
        answered = iter(await self._outcomes([record for _, record in sent])) if sent else iter(())
        return [_unreadable(line) if line.record is None else _row(line, line.record, next(answered)) for line in batch]

    async def _outcomes(self, records: list[ImportRecord]) -> list[Outcome]:
        """Return what came of records; a call that is refused as a whole is made in halves, down to what is wrong."""
        request = ImportRecordsRequest(records=records, dry_run=self._dry_run, actor_id=self._actor_id)
        try:
            return list((await self._stubbornly(request)).outcomes)
        except InvalidArgument as error:
            if len(records) == 1:
                problem = gateway_pb.ImportProblem(reason=error.reason, detail=error.message)
                return [Outcome(result=gateway_pb.IMPORT_RESULT_REFUSED, problem=problem)]
        half = len(records) // 2
        return [*await self._outcomes(records[:half]), *await self._outcomes(records[half:])]

    async def _stubbornly(self, request: ImportRecordsRequest) -> ImportRecordsResponse:
        for tries in range(1, TRIES_MAX):
            try:
                return await self._client.orchestrator_ops.ImportRecords(request)
            except AWAY as error:
                if not self._as_json:
                    error_console.print(Text(f"waits: {error.message}", style="dim"))
                await asyncio.sleep(min(REST_MAX_S, 0.2 * 2 ** min(tries, 10)))
        return await self._client.orchestrator_ops.ImportRecords(request)

    def _advance(self, last: _Line, digest: str) -> None:
        progress = self._progress
        progress.bytes, progress.lines, progress.digest = last.end, last.number, digest
        if not self._dry_run:
            written = self._kept.with_name(f"{self._kept.name}.new")
            written.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            os.replace(written, self._kept)

    def _tell(self) -> Exit:
        counts = self._progress.counts
        refused = counts.get("refused", 0)
        if self._as_json:
            print_json_line({"lines": self._progress.lines, "dry_run": self._dry_run, **_all(counts)})
        else:
            would = "would be " if self._dry_run else ""
            console.print(Text(f"{self._progress.lines} lines: {would}{_summary(counts)}"))
            if refused and not self._dry_run:
                console.print(Text(f"Mend what was refused, and run `{program()} import` on those lines again."))
        return Exit.NOT_AS_WANTED if refused else Exit.OK


def _read_progress(kept: Path) -> Progress:
    try:
        return Progress(**json.loads(kept.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        refuse(f"{kept} is not what a run before wrote; remove it, or say --from-start.")


def _lines(opened: BinaryIO, progress: Progress) -> Iterator[_Line]:
    """Yield the lines that follow; empty ones are passed over."""
    number, end = progress.lines, progress.bytes
    opened.seek(end)
    while read := opened.readline(LINE_BYTES_MAX + 2):
        number, end, rest = number + 1, end + len(read), read
        while not rest.endswith(b"\n") and (rest := opened.readline(LINE_BYTES_MAX)):
            end += len(rest)  # of a line that is too long, and is refused for that
        if not read.strip():
            continue
        try:
            yield _Line(number, end, read_line(read.rstrip(b"\r\n")))
        except RecordError as problem:
            yield _Line(number, end, None, problem)


def _groups(lines: Iterator[_Line]) -> Iterator[list[list[_Line]]]:
    """Yield lines as calls, so many calls as are made at once."""
    group: list[list[_Line]] = []
    batch: list[_Line] = []
    size = 0
    for line in lines:
        bytes_more = 0 if line.record is None else line.record.ByteSize()
        if batch and (len(batch) == RECORDS_MAX or size + bytes_more > BYTES_MAX):
            group.append(batch)
            batch, size = [], 0
            if len(group) == CALLS_AT_ONCE:
                yield group
                group = []
        batch.append(line)
        size += bytes_more
    if batch:
        group.append(batch)
    if group:
        yield group


def _row(line: _Line, record: ImportRecord, outcome: Outcome) -> Row:
    problem = outcome.problem
    return Row(
        line=line.number,
        record_id=record.record_id,
        type=record.WhichOneof("record") or "",
        result=_RESULTS.get(outcome.result, "refused"),
        payment_id=outcome.payment_id,
        reason=problem.reason,
        field=problem.field,
        detail=problem.detail,
    )


def _unreadable(line: _Line) -> Row:
    problem = line.problem
    assert problem is not None  # noqa: S101 of a line without a record
    return Row(line=line.number, reason="RECORD_UNREADABLE", field=problem.field, detail=problem.problem)


def _all(counts: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in _RESULTS.values()}


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in _all(counts).items())
