"""An instance of a service as this client sees it: where it is, how busy it is with our calls, how it has behaved."""

from typing import Protocol

from placet_rpc.balancing.peak_ewma import PeakEwma
from placet_rpc.invocation import Invoker
from placet_rpc.registry.endpoint import Endpoint


class Route(Invoker, Protocol):
    """The way to one instance over one transport."""

    endpoint: str

    @property
    def is_available(self) -> bool:
        """False while the instance drains, or can't be reached and it is not yet time to try again."""
        ...


class Member:
    """One instance. It outlives the snapshots that it is in, and so does what is known of it.

    Attributes:
        instance_id: the same for the life of the instance.
        endpoint: what the registry says of it; replaced when it says something else.
        route: how it is called.
        active: requests under way from here, whatever the balancer.
        latency: what its calls have cost.
        ejected_until: no calls go there before, in monotonic seconds.
        lost_at: when a connection to it was last lost.
    """

    __slots__ = ("active", "ejected_until", "endpoint", "instance_id", "latency", "lost_at", "route")

    def __init__(self, endpoint: Endpoint, route: Route) -> None:
        self.instance_id = endpoint.instance_id
        self.endpoint = endpoint
        self.route = route
        self.active = 0
        self.latency = PeakEwma()
        self.ejected_until = 0.0
        self.lost_at = 0.0

    @property
    def is_available(self) -> bool:
        """True if a call could be sent there now."""
        return self.route.is_available

    def __repr__(self) -> str:
        return f"<Member {self.instance_id} {self.active} active>"
