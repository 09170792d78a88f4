"""The multiplexed TCP transport: one connection per endpoint, as many calls on it as both sides allow."""

from placet_rpc.tcp.client import TcpClient, TcpTarget
from placet_rpc.tcp.counters import TcpCounters, TcpServerCounters
from placet_rpc.tcp.http_calls import HttpCalls
from placet_rpc.tcp.limits import TcpLimits, TcpServerLimits
from placet_rpc.tcp.server import TcpServer
from placet_rpc.tcp.serving import IncomingCall
from placet_rpc.tcp.tls import client_tls, server_tls

__all__ = [
    "HttpCalls",
    "IncomingCall",
    "TcpClient",
    "TcpCounters",
    "TcpLimits",
    "TcpServer",
    "TcpServerCounters",
    "TcpServerLimits",
    "TcpTarget",
    "client_tls",
    "server_tls",
]
