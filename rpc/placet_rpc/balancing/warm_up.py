"""How much of its weight an instance has: a new one is cold, and gets its share of calls little by little."""

from placet_rpc.registry.endpoint import Endpoint

WARM_UP_SECONDS = 600.0


def effective_weight(endpoint: Endpoint, now: float, warm_up_seconds: float = WARM_UP_SECONDS) -> int:
    """Returns the weight of an instance at a moment: 0 if it is drained, else at least 1.

    Args:
        endpoint: the instance. One whose age is not known is warm; one from the future has just begun.
        now: in monotonic seconds.
        warm_up_seconds: the age at which it has its whole weight, which it gets in proportion to its age.
    """
    weight = endpoint.weight
    if weight == 0 or endpoint.up_since is None:
        return weight
    age = now - endpoint.up_since
    if age >= warm_up_seconds:
        return weight
    return max(1, int(age / warm_up_seconds * weight))


def warm_at(endpoint: Endpoint, warm_up_seconds: float = WARM_UP_SECONDS) -> float:
    """Returns when the instance has its whole weight, in monotonic seconds."""
    return float("-inf") if endpoint.up_since is None else endpoint.up_since + warm_up_seconds
