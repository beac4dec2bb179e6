"""What commands are made of here: help that names values as people do, and commands that are imported when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_group

from batzen.cli.program import called_here

VALUES: Final[Mapping[str | None, str]] = {
    "<bool>": "",
    "<str>": "TEXT",
    "<int>": "NUMBER",
    "<float>": "NUMBER",
    **dict.fromkeys(["<int range>", "<float range>"], "NUMBER"),
}
"""What typer calls the value of an option, and what its help says here: nothing where there is no value."""


class Option(TyperOption):
    """An option whose value is converted only where there is something to convert.

    For that typer imports pydantic, which takes a third of the time in which a command starts.
    """

    def display_type_rich(self, ctx: Any) -> str | None:
        """Return what its help calls the value."""
        shown = super().display_type_rich(ctx)
        return VALUES.get(shown, shown)

    def get_runtime_param(self) -> Any:
        """Return what converts a value."""
        return self

    def coerce(self, value: Any, *, param: TyperOption, ctx: Any) -> Any:
        """Return a value as the command takes it."""
        if value is None:
            return () if self.multiple else None
        described = self.type_descriptor
        is_final = value is self.default or (described.annotation is str and described.parameter_info.parser is None)
        if is_final and type(value) is described.annotation:
            return value
        return super().get_runtime_param().coerce(value, param=param, ctx=ctx)


class Argument(TyperArgument):
    """An argument whose help has its name, and not the name of its type beside it."""

    def display_type_rich(self, ctx: Any) -> str | None:
        """Return the type if it says more than the name."""
        shown = super().display_type_rich(ctx)
        return None if shown in VALUES else shown


OURS: Final[Mapping[type, type]] = {TyperOption: Option, TyperArgument: Argument}
"""Typer makes options and arguments itself, and can be given no other class."""


class Command(TyperCommand):
    """A command whose help names values as people do, and says how `batzen` is called where that is not all of it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options and arguments."""
        return _ours(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write its help."""
        shown = copy(self)
        shown.epilog = _with_place(self.epilog)
        super(Command, shown).format_help(ctx, formatter)


class Group(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options."""
        return _ours(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write its help."""
        shown = copy(self)
        shown.epilog = _flowing(self.epilog)
        super(Group, shown).format_help(ctx, formatter)


class Commands(typer.Typer):
    """A group of commands, such as `batzen sellers`, in which `command()` adds one."""

    def __init__(self, **options: Any) -> None:
        """`help` says what the commands are about."""
        super().__init__(cls=Group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a function as a command."""
        return super().command(name, **{"cls": Command, **options})


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command or a group of commands is, and what the list of commands says of it."""

    module: str
    attribute: str
    """The function, or the `Commands` of a group."""
    help: str
    panel: str
    epilog: str = ""
    """The constant with the examples; a group has none."""

    def loaded(self, name: str) -> TyperCommand | TyperGroup:
        """Import it, and return it as what typer runs."""
        module = import_module(self.module)
        found = getattr(module, self.attribute)
        if isinstance(found, typer.Typer):
            command: Any = get_group(found)
            command.name = name
        else:
            alone = Commands()
            alone.command(name, epilog=getattr(module, self.epilog))(found)
            command = get_group(alone).commands[name]
        command.rich_help_panel = self.panel
        return command  # type: ignore[no-any-return]


class Outline(TyperCommand):
    """A command of which no more was imported than its name and its line in the list."""


class LazyGroup(Group):
    """The commands of a table, each imported when it is called: no other is waited for."""

    entries: Mapping[str, Entry] = {}

    def __init__(self, **attributes: Any) -> None:
        """As typer makes it."""
        super().__init__(**attributes)
        for name, entry in self.entries.items():
            self.commands[name] = Outline(name=name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed."""
        self.load(args[:1])
        return super().resolve_command(ctx, args)

    def load(self, names: Sequence[str]) -> None:
        """Import these commands."""
        for name in names:
            if isinstance(self.commands.get(name), Outline):
                self.commands[name] = self.entries[name].loaded(name)


def _ours(params: Sequence[Any]) -> list[Any]:
    for param in params:
        param.__class__ = OURS.get(type(param), type(param))
    return list(params)


def _flowing(epilog: str | None) -> str | None:
    """Return paragraphs that fill whatever width there is."""
    return epilog and "\n\n".join(paragraph.replace("\n", " ") for paragraph in epilog.split("\n\n"))


def _with_place(epilog: str | None) -> str | None:
    """Return the examples with how `batzen` is called here, where it is not on the path."""
    called = called_here()
    return f"{_flowing(epilog)}\n\n`batzen` is {called} here." if epilog and called != "batzen" else _flowing(epilog)
