"""A protobuf message as `protoc` would generate it, without a compiler: its descriptor is written by hand."""

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto


def _declared() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="placet_tests/quote.proto",
        package="placet_tests",
        syntax="proto3",
        dependency=[duration_pb2.DESCRIPTOR.name],
    )
    quote = file.message_type.add(name="Quote")
    for number, (name, kind) in enumerate(
        [
            ("sku", _FIELD.TYPE_STRING),
            ("count", _FIELD.TYPE_INT64),
            ("seal", _FIELD.TYPE_BYTES),
            ("price", _FIELD.TYPE_DOUBLE),
        ],
        1,
    ):
        quote.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    quote.field.add(
        name="valid_for",
        number=5,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".google.protobuf.Duration",
        label=_FIELD.LABEL_OPTIONAL,
    )
    quote.field.add(
        name="parts",
        number=6,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".placet_tests.Quote",
        label=_FIELD.LABEL_REPEATED,
    )
    return file


_pool = descriptor_pool.Default()
_pool.AddSerializedFile(_declared().SerializeToString())
Quote = message_factory.GetMessageClass(_pool.FindMessageTypeByName("placet_tests.Quote"))
