"""Who calls whom: a graph of applications, drawn from what servers count, and what is wrong with it."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from placet_rpc.governance.statistics import RowState

UNKNOWN_CALLER = "(unknown)"


class Edge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Calls of one application to one service of another.

    Attributes:
        caller: application; `UNKNOWN_CALLER` if it did not say.
        callee: application that serves.
        service: name and version.
        calls: so far.
        failed: of these, those that speak against the service.
    """

    caller: str
    callee: str
    service: str
    calls: int = 0
    failed: int = 0


def edges_of(app: str, rows: Iterable[RowState]) -> list[Edge]:
    """Returns the edges that lead to one server.

    Args:
        app: its application; empty: its services stand for it.
        rows: what it counted.
    """
    return merged(
        Edge(
            caller=row.caller or UNKNOWN_CALLER,
            callee=app or row.service,
            service=row.service,
            calls=row.calls,
            failed=row.failed,
        )
        for row in rows
    )


def merged(edges: Iterable[Edge]) -> list[Edge]:
    """Returns one edge per caller, callee and service, in order; servers of one application are counted together."""
    totals: dict[tuple[str, str, str], tuple[int, int]] = {}
    for edge in edges:
        key = (edge.caller, edge.callee, edge.service)
        calls, failed = totals.get(key, (0, 0))
        totals[key] = (calls + edge.calls, failed + edge.failed)
    return [
        Edge(caller=key[0], callee=key[1], service=key[2], calls=calls, failed=failed)
        for key, (calls, failed) in sorted(totals.items())
    ]


class CallGraph:
    """A graph of applications.

    Args:
        edges: of all servers that could be asked.

    Attributes:
        edges: one per caller, callee and service, in order.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self.edges = merged(edges)
        self._callees: dict[str, list[str]] = {}
        for edge in self.edges:
            callees = self._callees.setdefault(edge.caller, [])
            self._callees.setdefault(edge.callee, [])
            if edge.callee not in callees:
                callees.append(edge.callee)

    @property
    def applications(self) -> list[str]:
        """All that call or are called, in order."""
        return sorted(self._callees)

    def cycles(self) -> list[list[str]]:
        """Returns the groups of applications that call each other in a circle, or themselves, each in order.

        A circle of calls deadlocks when the pools of its members are full, and can't be upgraded one by one.
        """
        found = [
            sorted(group)
            for group in _strongly_connected(self._callees)
            if len(group) > 1 or group[0] in self._callees[group[0]]
        ]
        return sorted(found)

    def against_layers(self, layers: Sequence[Iterable[str]]) -> list[Edge]:
        """Returns the calls that go upwards.

        Args:
            layers: applications from the top, where calls begin, to the bottom; calls within one are fine, and so are
                those of applications that are in none.

        Raises:
            ValueError: an application is in two layers.
        """
        depth: dict[str, int] = {}
        for number, layer in enumerate(layers):
            for application in layer:
                if application in depth:
                    raise ValueError(f"{application} is in two layers: an application has one place")
                depth[application] = number
        return [
            edge
            for edge in self.edges
            if edge.caller in depth and edge.callee in depth and depth[edge.callee] < depth[edge.caller]
        ]

    def mermaid(self) -> str:
        """Returns the graph as a Mermaid flowchart; calls in a circle are drawn thick."""
        numbers, circular = self._numbers(), self._circular()
        lines = ["flowchart LR"]
        lines += [f'    n{number}["{_mermaid_text(application)}"]' for application, number in numbers.items()]
        for edge in self.edges:
            arrow = "==>" if (edge.caller, edge.callee) in circular else "-->"
            label = _mermaid_text(_label(edge))
            lines.append(f'    n{numbers[edge.caller]} {arrow}|"{label}"| n{numbers[edge.callee]}')
        return "\n".join(lines) + "\n"

    def dot(self) -> str:
        """Returns the graph in Graphviz's language; calls in a circle are drawn bold."""
        circular = self._circular()
        lines = ["digraph calls {", "    rankdir=LR;"]
        lines += [f"    {_dot_text(application)};" for application in self.applications]
        for edge in self.edges:
            style = ", style=bold" if (edge.caller, edge.callee) in circular else ""
            label = _dot_text(_label(edge))
            lines.append(f"    {_dot_text(edge.caller)} -> {_dot_text(edge.callee)} [label={label}{style}];")
        return "\n".join([*lines, "}"]) + "\n"

    def _numbers(self) -> dict[str, int]:
        return {application: number for number, application in enumerate(self.applications)}

    def _circular(self) -> set[tuple[str, str]]:
        group = {application: number for number, cycle in enumerate(self.cycles()) for application in cycle}
        return {
            (edge.caller, edge.callee)
            for edge in self.edges
            if edge.caller in group and group[edge.caller] == group.get(edge.callee)
        }


def _label(edge: Edge) -> str:
    failed = f", {edge.failed} failed" if edge.failed else ""
    return f"{edge.service}: {edge.calls}{failed}"


def _mermaid_text(text: str) -> str:
    # Names come from callers: what has a meaning in Mermaid or HTML is written as an entity.
    return "".join(char if char.isalnum() or char in " ./:,-_()" else f"#{ord(char)};" for char in text)


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _strongly_connected(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Tarjan's algorithm, with a stack of its own: a long chain of callers must not end in a RecursionError."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    groups: list[list[str]] = []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(graph[root]))]
        while work:
            node, callees = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            for callee in callees:
                if callee not in index:
                    work.append((callee, iter(graph[callee])))
                    break
                if callee in on_stack:
                    low[node] = min(low[node], index[callee])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    groups.append(_popped(stack, on_stack, node))
    return groups


def _popped(stack: list[str], on_stack: set[str], node: str) -> list[str]:
    group: list[str] = []
    while not group or group[-1] != node:
        group.append(stack.pop())
        on_stack.discard(group[-1])
    return group
