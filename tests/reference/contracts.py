"""The contracts as they are compiled, with the comments that stand in the `.proto` files."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from tests.reference.refusals import Refusal, split_errors

PROTOS: Final = Path(__file__).parents[2] / "protos"

# Numbers of fields in descriptor.proto, of which the paths of comments are made.
_SYNTAX, _SERVICE, _MESSAGE, _ENUM, _METHOD, _FIELD, _VALUE, _NESTED, _NESTED_ENUM, _ONEOF = (
    12,
    6,
    4,
    5,
    2,
    2,
    2,
    3,
    4,
    8,
)


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a message, or a choice of several."""

    name: str
    number: int
    kind: str
    """The name of its type: full for a message or an enum."""
    is_ours: bool
    is_repeated: bool
    is_optional: bool
    is_retired: bool
    of: str
    """The oneof that it is one of; empty for most."""
    key: str
    """The type of the keys of a map; empty for what is none."""
    comment: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message."""

    full_name: str
    comment: str
    fields: Sequence[Field]
    choices: Mapping[str, str]
    """Name of a oneof → its comment."""


@dataclass(frozen=True, kw_only=True)
class Enum:
    """An enum with its values: name, number, comment."""

    full_name: str
    comment: str
    values: Sequence[tuple[str, int, str]]


@dataclass(frozen=True, kw_only=True)
class Rpc:
    """One method of a service."""

    service: str
    name: str
    comment: str
    """Without its errors."""
    how: str
    """What is said of its errors as a whole."""
    has_errors: bool
    refusals: Sequence[Refusal]
    input: str
    output: str
    asks_often: bool
    answers_often: bool

    @property
    def method(self) -> str:
        """Its full name as it is called."""
        return f"{self.service}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service."""

    full_name: str
    comment: str
    rpcs: Sequence[Rpc]

    @property
    def name(self) -> str:
        """Its name without the package."""
        return self.full_name.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class File:
    """A `.proto` file."""

    path: str
    package: str
    comment: str
    services: Sequence[Service]
    messages: Sequence[Message]
    enums: Sequence[Enum]

    @property
    def types(self) -> Sequence[Message | Enum]:
        """All types that it declares."""
        return [*self.messages, *self.enums]


@dataclass(frozen=True)
class Contracts:
    """All contracts of the suite."""

    files: Sequence[File]

    @property
    def services(self) -> Iterator[Service]:
        """Every service, in the order of the files."""
        return (service for file in self.files for service in file.services)

    @property
    def rpcs(self) -> Iterator[Rpc]:
        """Every RPC."""
        return (rpc for service in self.services for rpc in service.rpcs)


@cache
def contracts() -> Contracts:
    """Return the contracts as they stand in `protos/`."""
    return Contracts([_file(one) for one in compiled(PROTOS).file if one.package.startswith("batzen.")])


def compiled(protos: Path) -> FileDescriptorSet:
    """Return what protoc makes of a folder of contracts, with comments."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as target:
        files = [path.relative_to(protos).as_posix() for path in sorted(protos.glob("batzen/**/*.proto"))]
        standard = str(resources.files("grpc_tools") / "_proto")
        wanted = [
            "protoc",
            f"-I{protos}",
            f"-I{standard}",
            f"--descriptor_set_out={target.name}",
            "--include_source_info",
        ]
        if protoc.main([*wanted, *files]) != 0:
            raise SystemExit("the contracts cannot be compiled")
        return FileDescriptorSet.FromString(Path(target.name).read_bytes())


def descriptor_of(full_name: str) -> Descriptor:
    """Return the type of a message by its full name, of the stubs."""
    for file in contracts().files:
        importlib.import_module(file.path.removesuffix(".proto").replace("/", ".") + "_pb2")
    return descriptor_pool.Default().FindMessageTypeByName(full_name)


@dataclass(frozen=True)
class _Comments:
    """The comments of a file, by the path of what they are about."""

    by_path: Mapping[tuple[int, ...], str]

    def of(self, *path: int) -> str:
        return self.by_path.get(path, "")


def _file(one: FileDescriptorProto) -> File:
    comments = _Comments(
        {
            tuple(place.path): _plain(place.leading_comments or "".join(place.leading_detached_comments))
            or _plain(place.trailing_comments)
            for place in one.source_code_info.location
        }
    )
    return File(
        path=one.name,
        package=one.package,
        comment=comments.of(_SYNTAX),
        services=[_service(one.package, service, comments, i) for i, service in enumerate(one.service)],
        messages=list(_messages(one.package, one.message_type, comments, (_MESSAGE,))),
        enums=[*_enums(one.package, one.enum_type, comments, (_ENUM,)), *_nested_enums(one, comments)],
    )


def _service(package: str, one: ServiceDescriptorProto, comments: _Comments, place: int) -> Service:
    full_name = f"{package}.{one.name}"
    rpcs = []
    for i, method in enumerate(one.method):
        comment, how, refusals = split_errors(comments.of(_SERVICE, place, _METHOD, i))
        rpcs.append(
            Rpc(
                service=full_name,
                name=method.name,
                comment=comment,
                how=how or "",
                has_errors=how is not None,
                refusals=refusals,
                input=method.input_type.lstrip("."),
                output=method.output_type.lstrip("."),
                asks_often=method.client_streaming,
                answers_often=method.server_streaming,
            )
        )
    return Service(full_name=full_name, comment=comments.of(_SERVICE, place), rpcs=rpcs)


def _messages(
    scope: str, several: Iterable[DescriptorProto], comments: _Comments, path: tuple[int, ...]
) -> Iterator[Message]:
    for i, one in enumerate(several):
        if one.options.map_entry:
            continue
        here, full_name = (*path, i), f"{scope}.{one.name}"
        maps = {f".{full_name}.{nested.name}": nested for nested in one.nested_type if nested.options.map_entry}
        yield Message(
            full_name=full_name,
            comment=comments.of(*here),
            fields=[
                _field(one, field, maps, comments.of(*here, _FIELD, number)) for number, field in enumerate(one.field)
            ],
            choices={choice.name: comments.of(*here, _ONEOF, number) for number, choice in enumerate(one.oneof_decl)},
        )
        yield from _messages(full_name, one.nested_type, comments, (*here, _NESTED))


def _nested_enums(one: FileDescriptorProto, comments: _Comments) -> Iterator[Enum]:
    def inside(scope: str, several: Iterable[DescriptorProto], path: tuple[int, ...]) -> Iterator[Enum]:
        for i, message in enumerate(several):
            here, full_name = (*path, i), f"{scope}.{message.name}"
            yield from _enums(full_name, message.enum_type, comments, (*here, _NESTED_ENUM))
            yield from inside(full_name, message.nested_type, (*here, _NESTED))

    return inside(one.package, one.message_type, (_MESSAGE,))


def _enums(
    scope: str, several: Iterable[EnumDescriptorProto], comments: _Comments, path: tuple[int, ...]
) -> Iterator[Enum]:
    for i, one in enumerate(several):
        yield Enum(
            full_name=f"{scope}.{one.name}",
            comment=comments.of(*path, i),
            values=[(value.name, value.number, comments.of(*path, i, _VALUE, k)) for k, value in enumerate(one.value)],
        )


def _field(
    message: DescriptorProto, one: FieldDescriptorProto, maps: Mapping[str, DescriptorProto], comment: str
) -> Field:
    shown, key = one, ""
    if one.type_name in maps:
        keys, shown = maps[one.type_name].field
        key = _kind(keys)
    in_choice = one.HasField("oneof_index") and not one.proto3_optional
    return Field(
        name=one.name,
        number=one.number,
        kind=_kind(shown),
        is_ours=shown.type_name.startswith(".batzen."),
        is_repeated=one.label == FieldDescriptorProto.LABEL_REPEATED and not key,
        is_optional=one.proto3_optional,
        is_retired=one.options.deprecated,
        of=message.oneof_decl[one.oneof_index].name if in_choice else "",
        key=key,
        comment=comment,
    )


def _kind(one: FieldDescriptorProto) -> str:
    if one.type_name:
        return one.type_name.lstrip(".")
    return FieldDescriptorProto.Type.Name(one.type).removeprefix("TYPE_").lower()


def _plain(comment: str) -> str:
    """Return a comment without the space that stands before each of its lines."""
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.splitlines()).strip()
