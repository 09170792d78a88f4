"""HTTP/1.1 as a transport: the pooled client on asyncio and httptools."""

from placet_rpc.http.client import HttpClient
from placet_rpc.http.connect import Address, AllowAddresses
from placet_rpc.http.counters import HttpCounters
from placet_rpc.http.headers import NO_HEADERS, HeaderBlock, HeaderTemplate, header_block
from placet_rpc.http.limits import HttpLimits
from placet_rpc.http.target import HttpTarget

__all__ = [
    "NO_HEADERS",
    "Address",
    "AllowAddresses",
    "HeaderBlock",
    "HeaderTemplate",
    "HttpClient",
    "HttpCounters",
    "HttpLimits",
    "HttpTarget",
    "header_block",
]
