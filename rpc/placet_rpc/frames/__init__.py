"""The frames of the TCP transport and one side of a connection, without I/O."""

from placet_rpc.frames.channel import Channel, header_fits
from placet_rpc.frames.decoder import DecodeError, FrameDecoder
from placet_rpc.frames.faults import FIRST_REPLY_STATUS, Fault, fault_error
from placet_rpc.frames.hello import CODEC_HTTP, CODEC_JSON, CODEC_MSGPACK, Hello
from placet_rpc.frames.layout import REQUEST_ID_MAX, TIME_MAX, Frame, GoAway, Kind, encode_frame

__all__ = [
    "CODEC_HTTP",
    "CODEC_JSON",
    "CODEC_MSGPACK",
    "FIRST_REPLY_STATUS",
    "REQUEST_ID_MAX",
    "TIME_MAX",
    "Channel",
    "DecodeError",
    "Fault",
    "Frame",
    "FrameDecoder",
    "GoAway",
    "Hello",
    "Kind",
    "encode_frame",
    "fault_error",
    "header_fits",
]
