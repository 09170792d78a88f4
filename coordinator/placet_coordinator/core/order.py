"""The order of a saga's steps: `after` names known steps, has no cycle, and puts every step before or after a pivot."""

from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.core.transaction import Branch


def check_order(branches: tuple[Branch, ...]) -> None:
    """Check a saga's steps.

    Raises:
        RuleBroken: an unknown name, a cycle, or a step that is neither before nor after a pivot.
    """
    place = {branch.branch_id: index for index, branch in enumerate(branches)}
    for index, branch in enumerate(branches):
        for name in branch.after:
            if name not in place:
                raise RuleBroken(f"branches[{index}].after", f"{name} is not a step of this saga")
        if len(set(branch.after)) != len(branch.after):
            raise RuleBroken(f"branches[{index}].after", "a step stands twice in after")
    ancestors = _ancestors(branches, place)
    for index, branch in enumerate(branches):
        if branch.pivot:
            _check_pivot(index, branches, ancestors)


def in_order(branches: tuple[Branch, ...]) -> list[int]:
    """Return the steps' indexes so that each comes after those it names (Kahn 1962); steps on a cycle are left out."""
    place = {branch.branch_id: index for index, branch in enumerate(branches)}
    waits_for = [len(branch.after) for branch in branches]
    followers: list[list[int]] = [[] for _ in branches]
    for index, branch in enumerate(branches):
        for name in branch.after:
            followers[place[name]].append(index)
    order = [index for index, count in enumerate(waits_for) if count == 0]
    for index in order:
        for follower in followers[index]:
            waits_for[follower] -= 1
            if waits_for[follower] == 0:
                order.append(follower)
    return order


def _ancestors(branches: tuple[Branch, ...], place: dict[str, int]) -> list[int]:
    """Return, for each step, the set of steps before it as bits of an integer; refuse a cycle."""
    order = in_order(branches)
    if len(order) < len(branches):
        stuck = min(set(range(len(branches))).difference(order))
        raise RuleBroken(f"branches[{stuck}].after", "after names a cycle: no step of it could ever start")
    before = [0] * len(branches)
    for index in order:
        for name in branches[index].after:
            before[index] |= before[place[name]] | 1 << place[name]
    return before


def _check_pivot(pivot: int, branches: tuple[Branch, ...], ancestors: list[int]) -> None:
    for index, branch in enumerate(branches):
        is_before = ancestors[pivot] >> index & 1
        is_after = ancestors[index] >> pivot & 1
        if index != pivot and not is_before and not is_after:
            rule = (
                f"step {branch.branch_id} is neither before nor after the pivot {branches[pivot].branch_id}: "
                "name one in the other's after"
            )
            raise RuleBroken(f"branches[{index}].after", rule)
