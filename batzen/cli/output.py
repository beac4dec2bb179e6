"""What a command says: text for people, or one JSON document for programs; and how it ends."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.cli.session import Session
    from batzen.client import Client

console: Final = Console(highlight=False)
error_console: Final = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    NOT_AS_WANTED = 1
    """The payment did not end as wanted, or the call was refused."""
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


def call(context: typer.Context, work: Callable[[Client, Connection], Awaitable[Exit]], *, as_json: bool) -> NoReturn:
    """Run `work` with a client, tell what failed, and end the command with its exit code."""
    from batzen.cli.calling import outcome  # noqa: PLC0415 help needs no loop and no client, and starts faster

    raise typer.Exit(int(outcome(context.obj, work, given=context.params, as_json=as_json)))


def tell_token(session: Session) -> None:
    """Print the token and nothing else."""
    from batzen.cli.connection import AddressRefused, NotConnected  # noqa: PLC0415 as above

    try:
        token = session.connect().checked_token()
    except NotConnected as error:
        error_console.print(str(error))
        raise typer.Exit(int(Exit.USAGE if isinstance(error, AddressRefused) else Exit.UNREACHABLE)) from None
    print(token)


def refuse(message: str) -> NoReturn:
    """End a command whose arguments cannot be used."""
    raise typer.BadParameter(message)


def print_json(document: Any) -> None:
    """Write one JSON document, and nothing else, to standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """Write one JSON document on one line, at once."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def as_document(message: Message) -> dict[str, Any]:
    """Return a message in protobuf's JSON form, under its contract's names, zeros included; int64 is a string there."""
    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document
