"""An instance as registries store it."""

import logging
from collections.abc import Mapping

import msgspec

from placet_rpc.clock import Clock
from placet_rpc.registry.endpoint import WEIGHT, Endpoint

_log = logging.getLogger("placet_rpc.registry")


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance as registries store it; members that a reader does not know are left alone.

    Attributes:
        age_ms: of the instance when it was announced; from then on the registry's own clock counts.
    """

    urls: tuple[str, ...]
    weight: int = WEIGHT
    zone: str = ""
    tags: Mapping[str, str] = {}
    codecs: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...]] = {}
    age_ms: int = 0

    def endpoint(self, instance_id: str, up_since: float | None = None) -> Endpoint:
        """Returns the instance.

        Raises:
            ValueError: it is none.
        """
        return Endpoint(
            instance_id=instance_id,
            urls=self.urls,
            weight=self.weight,
            zone=self.zone,
            up_since=up_since,
            tags=self.tags,
            codecs=self.codecs,
            actions=self.actions,
        )


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(Record).decode


def age_ms(endpoint: Endpoint, clock: Clock) -> int:
    """Returns how long an instance of this process has run."""
    return 0 if endpoint.up_since is None else max(int((clock.monotonic() - endpoint.up_since) * 1000), 0)


def to_record(endpoint: Endpoint, age: int = 0) -> bytes:
    """Encodes an instance; the same content gives the same bytes."""
    return _encode(
        Record(
            urls=endpoint.urls,
            weight=endpoint.weight,
            zone=endpoint.zone,
            tags=endpoint.tags,
            codecs=endpoint.codecs,
            actions=endpoint.actions,
            age_ms=age,
        )
    )


def read_record(service: str, instance_id: str, data: bytes) -> Record | None:
    """Decodes a record; None, with a line in the log, if it is none: one bad entry must not hide the others."""
    try:
        record = _decode(data)
        record.endpoint(instance_id)
    except ValueError as error:
        _log.warning("instance %r of %s in the registry is left out: %s", instance_id, service, error)
        return None
    return record
