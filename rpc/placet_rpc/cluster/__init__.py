"""What a call means where a service has many instances: strategies by name, replaceable by installed packages."""

from placet_rpc.choice import Parts
from placet_rpc.cluster.available import Available
from placet_rpc.cluster.broadcast import Broadcast, InstanceResult, instance_results
from placet_rpc.cluster.failback import Failback
from placet_rpc.cluster.failback_queue import FailbackLimits, FailbackQueue
from placet_rpc.cluster.failback_store import FailbackEntry, FailbackFull, FailbackStore, MemoryFailbackStore
from placet_rpc.cluster.failfast import Failfast
from placet_rpc.cluster.failover import Failover
from placet_rpc.cluster.failsafe import Failsafe
from placet_rpc.cluster.forking import Forking, Hedging
from placet_rpc.cluster.instances import Directory, Instances
from placet_rpc.cluster.strategy import ClusterContext, ClusterStrategy
from placet_rpc.cluster.targets import Targets

CLUSTERS = "placet.rpc.clusters"
"""Group of entry points: `factory(context, **options) -> ClusterStrategy`."""
CLUSTER_SPI_VERSION = 1
BUILTIN_CLUSTERS = {
    "failover": Failover,
    "failfast": Failfast,
    "failsafe": Failsafe,
    "failback": Failback,
    "forking": Forking,
    "hedging": Hedging,
    "broadcast": Broadcast,
    "available": Available,
}

_PARTS = Parts(CLUSTERS, BUILTIN_CLUSTERS, CLUSTER_SPI_VERSION)


def make_cluster(text: str, context: ClusterContext) -> ClusterStrategy:
    """Makes a strategy from its configuration, `name?key=value`.

    Raises:
        ValueError: nothing offers it, or it does not take these options.
    """
    strategy: ClusterStrategy = _PARTS.make(text, context)
    return strategy


__all__ = [
    "BUILTIN_CLUSTERS",
    "CLUSTERS",
    "CLUSTER_SPI_VERSION",
    "Available",
    "Broadcast",
    "ClusterContext",
    "ClusterStrategy",
    "Directory",
    "Failback",
    "FailbackEntry",
    "FailbackFull",
    "FailbackLimits",
    "FailbackQueue",
    "FailbackStore",
    "Failfast",
    "Failover",
    "Failsafe",
    "Forking",
    "Hedging",
    "InstanceResult",
    "Instances",
    "MemoryFailbackStore",
    "Targets",
    "instance_results",
    "make_cluster",
]
