"""All instances of one service at one moment."""

import msgspec

from placet_rpc.registry.endpoint import Endpoint


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All instances of one service at one moment. Never changed, so whatever is computed from it may be kept with it.

    Attributes:
        service: its key, such as `stock/1`.
        revision: grows with each change within an epoch.
        endpoints: by instance id, each once.
        epoch: one life of whoever counts the revisions; revisions of two epochs can't be compared.
    """

    service: str
    revision: int
    endpoints: tuple[Endpoint, ...]
    epoch: str = ""
