"""What a configuration may say, and the check that nothing else gets through.

    {
      "changed_by": "ana", "reason": "incident 4711",
      "services": {
        "stock/1": {"timeout_ms": 800, "cluster": "failfast",
                    "methods": {"peek": {"degrade": {"value": 0, "always": true}, "rate": {"per_second": 50}}}}
      },
      "access": [{"methods": "stock/1.reserve", "allow": ["app:order"]}]
    }

What is left out stands as the program has set it; null, where it is allowed, says: without. A member that is unknown
is refused, for whoever wrote it believes that it does something.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from placet_contract.limits import TIME_MS_MAX
from placet_rpc.configuration.source import DOCUMENT_BYTES_MAX
from placet_rpc.configuration.substitute import ForcedSubstitute, JsonValue
from placet_rpc.governance.access import MAX_RULES, AccessRule
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.bulkhead import BulkheadLimits
from placet_rpc.policies.degradation import Substitute
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.settings import Settings

ATTEMPTS_MAX = 100
NAME_LENGTH_MAX = 128
REASON_LENGTH_MAX = 1_000

Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=1, le=TIME_MS_MAX)]
Share = Annotated[float, Meta(gt=0, le=1)]
Part = Annotated[str, Meta(min_length=1, max_length=1_000)]


class RateSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """A rate of each process, as `Rate`."""

    per_second: Annotated[float, Meta(gt=0)]
    burst: Annotated[int, Meta(ge=0)] = 0


class BreakerSetting(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """As `BreakerLimits`, whose defaults hold for what is left out."""

    calls_min: Positive | UnsetType = UNSET
    failed_share: Share | UnsetType = UNSET
    slow_share: Share | UnsetType = UNSET
    slow_after_ms: Milliseconds | UnsetType | None = UNSET
    open_first_ms: Milliseconds | UnsetType = UNSET
    open_cap_ms: Milliseconds | UnsetType = UNSET
    probes: Positive | UnsetType = UNSET
    window_slots: Annotated[int, Meta(ge=1, le=3_600)] | UnsetType = UNSET


class BulkheadSetting(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """As `BulkheadLimits`, whose defaults hold for what is left out."""

    max_concurrent: Positive | UnsetType = UNSET
    max_waiting: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    wait_ms: Annotated[int, Meta(ge=0, le=TIME_MS_MAX)] | UnsetType = UNSET


class DegradeSetting(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is answered instead of a call.

    Attributes:
        value: the answer, as JSON; null is one too.
        use: instead of it: the name of a substitute that the program offers.
        always: never make the call; else only where it fails.
    """

    value: Any = UNSET
    use: str | UnsetType = UNSET
    always: bool = False

    def substitute(self, offered: Mapping[str, Substitute], where: str) -> Substitute:
        """Returns the substitute.

        Raises:
            ValueError: it says both or nothing, or the program offers none of that name.
        """
        if (self.value is UNSET) is (self.use is UNSET):
            raise ValueError(f"{where}: degrade says either value or use")
        if isinstance(self.use, UnsetType):
            return JsonValue(msgspec.json.encode(self.value), always=self.always)
        if self.use not in offered:
            there = f"it offers {', '.join(sorted(offered))}" if offered else "it offers none"
            raise ValueError(f"{where}: degrade uses {self.use!r}, which is no substitute of this program: {there}")
        return ForcedSubstitute(offered[self.use], always=self.always)


class MethodSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands on top of all levels of `placet_rpc.settings`, under the names that it has there."""

    timeout_ms: Milliseconds | UnsetType = UNSET
    attempts: Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)] | UnsetType = UNSET
    attempt_timeout_ms: Milliseconds | UnsetType | None = UNSET
    backoff_first_ms: Milliseconds | UnsetType = UNSET
    backoff_cap_ms: Milliseconds | UnsetType = UNSET
    balancer: Part | UnsetType = UNSET
    cluster: Part | UnsetType = UNSET
    degrade: DegradeSetting | UnsetType | None = UNSET
    breaker: BreakerSetting | UnsetType | None = UNSET
    bulkhead: BulkheadSetting | UnsetType | None = UNSET
    rate: RateSetting | UnsetType | None = UNSET


class ServiceSettings(MethodSettings, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for all methods of a service, and over it what holds for some."""

    methods: dict[str, MethodSettings] = {}


class Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A configuration.

    Attributes:
        changed_by: who wrote it, by their own word.
        reason: why.
        services: settings by key, such as `stock/1`.
        access: rules of the server, in place of those that the program has; left out: the program's.
    """

    changed_by: Annotated[str, Meta(max_length=NAME_LENGTH_MAX)] = ""
    reason: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""
    services: dict[str, ServiceSettings] = {}
    access: Annotated[list[AccessRule], Meta(max_length=MAX_RULES)] | UnsetType = UNSET


_decode = msgspec.json.Decoder(Document).decode


def read_document(text: bytes) -> Document:
    """Checks a document.

    Raises:
        ValueError: it is too long, no JSON, or says what is not allowed; the message says where.
    """
    if len(text) > DOCUMENT_BYTES_MAX:
        raise ValueError(f"it is longer than {DOCUMENT_BYTES_MAX} bytes")
    return _decode(text)


def overrides_of(document: Document, offered: Mapping[str, Substitute]) -> dict[tuple[str, str], Settings]:
    """Returns the settings by service and method; the method is empty for what holds for all of them.

    Args:
        document: one that was checked.
        offered: substitutes of the program, by name.

    Raises:
        ValueError: limits contradict each other, or a substitute is not offered; the message says where.
    """
    overrides: dict[tuple[str, str], Settings] = {}
    for service, said in document.services.items():
        for method, settings in (("", said), *said.methods.items()):
            where = f"{service} {method}".rstrip()
            found = _settings_of(settings, offered, where)
            if found:
                overrides[service, method] = found
    return overrides


def _settings_of(said: MethodSettings, offered: Mapping[str, Substitute], where: str) -> Settings:
    given = _given(said)
    given.pop("methods", None)
    try:
        for name, kind in (("breaker", BreakerLimits), ("bulkhead", BulkheadLimits), ("rate", Rate)):
            if given.get(name) is not None:
                given[name] = kind(**_given(given[name]))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if isinstance(said.degrade, DegradeSetting):
        given["degrade"] = said.degrade.substitute(offered, where)
    first, cap = given.get("backoff_first"), given.get("backoff_cap")
    if first is not None and cap is not None and first > cap:
        raise ValueError(f"{where}: backoff_first_ms is at most backoff_cap_ms")
    settings = Settings()
    settings.update(given)  # type: ignore[typeddict-item]  # the Struct has the names of Settings, and a test says so
    return settings


def _given(said: Struct) -> dict[str, Any]:
    """Returns what was said, times as such and under their names in Python."""
    given: dict[str, Any] = {}
    for name in said.__struct_fields__:
        value = getattr(said, name)
        if value is UNSET:
            continue
        if name.endswith("_ms"):
            given[name.removesuffix("_ms")] = None if value is None else timedelta(milliseconds=value)
        else:
            given[name] = value
    return given
