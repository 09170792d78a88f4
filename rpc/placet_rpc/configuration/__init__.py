"""Live configuration: settings of clients and access lists of servers, from a source that may change them any time.

source (file, redis, zookeeper, sql) ──▶ LiveConfiguration ──▶ Client.override, AccessList.replace
                                         (check, then all or nothing; audit)
"""

from placet_rpc.configuration.change import Change, Verdict
from placet_rpc.configuration.document import Document, read_document
from placet_rpc.configuration.live import LiveConfiguration
from placet_rpc.configuration.opening import (
    CONFIGURATION_SPI_VERSION,
    CONFIGURATIONS,
    SourceContext,
    open_source,
)
from placet_rpc.configuration.source import ConfigurationSource, SourceUnavailable, Stored

__all__ = [
    "CONFIGURATIONS",
    "CONFIGURATION_SPI_VERSION",
    "Change",
    "ConfigurationSource",
    "Document",
    "LiveConfiguration",
    "SourceContext",
    "SourceUnavailable",
    "Stored",
    "Verdict",
    "open_source",
    "read_document",
]
