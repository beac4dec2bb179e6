"""Reflection, under both of its names: clients of today ask for v1, those of before for v1alpha.

The two differ in nothing but the package. grpcio-reflection has v1alpha alone, so that v1 is made of its descriptor,
and answered by its servicer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.json_format import MessageToJson, Parse
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1: Final = "grpc.reflection.v1.ServerReflection"
ALPHA: Final = reflection.SERVICE_NAME


def enable_reflection(services: Sequence[str], server: aio.Server) -> None:
    """Have a server say which services it has, both of these among them, and what their messages are."""
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(_v1().SerializeToString())
    names = (*services, V1, ALPHA)
    reflection.enable_server_reflection(names, server, pool)
    servicer: Any = reflection.aio.ReflectionServicer(names, pool=pool)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler}),))


def _v1() -> descriptor_pb2.FileDescriptorProto:
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    alpha.ClearField("options")  # of other languages, and that v1alpha is deprecated
    alpha.name = "grpc/reflection/v1alpha/reflection.proto"
    return Parse(MessageToJson(alpha).replace("v1alpha", "v1"), descriptor_pb2.FileDescriptorProto())
