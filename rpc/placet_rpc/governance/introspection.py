"""What a server tells of itself, as a service like any other, over every transport that it has."""

from typing import Protocol

import msgspec

from placet_contract.service import method, service
from placet_rpc.dispatch import Operations
from placet_rpc.governance.call_graph import Edge, edges_of
from placet_rpc.governance.statistics import RowState, Statistics

_OWN = "placet.introspection/"


class MethodDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One method of a service that is exposed.

    Attributes:
        name: of the method.
        parameters: names, in order.
        idempotent: it may be repeated after an unknown outcome.
        timeout_ms: of a call, if its interface says so.
    """

    name: str
    parameters: tuple[str, ...] = ()
    idempotent: bool = False
    timeout_ms: int | None = None


class ServiceDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service that is exposed.

    Attributes:
        key: name and version.
        contract_hash: equal where both sides declare the same.
        methods: in the interface's order.
    """

    key: str
    contract_hash: str = ""
    methods: tuple[MethodDescription, ...] = ()


class ServerDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server.

    Attributes:
        app: its application.
        instance_id: of the process.
        services: that it offers.
    """

    app: str = ""
    instance_id: str = ""
    services: tuple[ServiceDescription, ...] = ()


@service("placet.introspection")
class Introspection(Protocol):
    """Offered by every server; for its own machine, unless its access list says otherwise."""

    @method(idempotent=True)
    async def services(self) -> ServerDescription:
        """Returns what the server offers."""
        ...

    @method(idempotent=True)
    async def stats(self) -> list[RowState]:
        """Returns what the server has counted, per caller and method."""
        ...

    @method(idempotent=True)
    async def graph(self) -> list[Edge]:
        """Returns who calls the server."""
        ...


class ServerIntrospection:
    """The implementation.

    Args:
        operations: what the server offers.
        statistics: what it counts.
        app: its application.
        instance_id: of the process.
    """

    def __init__(self, operations: Operations, statistics: Statistics, *, app: str, instance_id: str) -> None:
        self._operations, self._statistics = operations, statistics
        self._app, self._instance_id = app, instance_id

    async def services(self) -> ServerDescription:
        """Returns what the server offers."""
        described = []
        for key, spec in sorted(self._operations.services.items()):
            methods = tuple(
                MethodDescription(
                    name=one.name,
                    parameters=one.names,
                    idempotent=one.options.idempotent,
                    timeout_ms=one.options.timeout_ms,
                )
                for one in spec.methods.values()
            )
            described.append(ServiceDescription(key=key, contract_hash=spec.contract_hash, methods=methods))
        return ServerDescription(app=self._app, instance_id=self._instance_id, services=tuple(described))

    async def stats(self) -> list[RowState]:
        """Returns what the server has counted."""
        return self._statistics.states()

    async def graph(self) -> list[Edge]:
        """Returns who calls the server."""
        return edges_of(self._app, (row for row in self._statistics.states() if not row.service.startswith(_OWN)))
