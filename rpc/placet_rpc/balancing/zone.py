"""Calls stay within a zone while enough of it is well: the next rack is nearer than the next building."""

from collections.abc import Collection

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member

ENOUGH_SHARE = 0.7


def is_enough(local: Candidates, unwell: Collection[Member]) -> bool:
    """True if the instances of a zone that are well have at least 70 % of the weight of all in it."""
    weight = sum(member.endpoint.weight for member in local.members)
    well = sum(member.endpoint.weight for member in local.members if member not in unwell)
    return well >= ENOUGH_SHARE * weight
