"""What is drawn of who calls whom, and what is found wrong with it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.governance.call_graph import UNKNOWN_CALLER, CallGraph, Edge, edges_of
from placet_rpc.governance.statistics import RowState


def graph(*pairs):
    """A graph with one call per pair such as `web-order`."""
    return CallGraph(
        Edge(caller=caller, callee=callee, service=f"{callee}/1", calls=1)
        for caller, callee in (pair.split("-") for pair in pairs)
    )


def test_a_graph_without_a_circle_has_no_cycle():
    """Two ways to the same place are no circle."""
    assert graph("web-order", "order-stock", "web-stock").cycles() == []


def test_circles_are_found_each_once_and_in_order():
    """Members of a circle of any length are reported together; who only leads to it is not."""
    found = graph("web-a", "a-b", "b-c", "c-a", "x-y", "y-x", "c-end", "self-self").cycles()
    assert found == [["a", "b", "c"], ["self"], ["x", "y"]]


def test_a_chain_of_ten_thousand_applications_is_no_recursion():
    """The search for circles needs no stack of Python's."""
    names = [f"a{number}" for number in range(10_000)]
    chain = CallGraph(
        Edge(caller=caller, callee=callee, service="s/1", calls=1)
        for caller, callee in itertools.pairwise([*names, names[0]])
    )
    assert [len(cycle) for cycle in chain.cycles()] == [10_000]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=25))
def test_circles_are_those_that_reachability_shows(pairs):
    """Two applications are in one circle exactly if each can be reached from the other."""
    found = CallGraph(Edge(caller=str(a), callee=str(b), service="s/1") for a, b in pairs).cycles()
    reach = {(a, b) for a, b in pairs}
    for via, a, b in itertools.product(range(8), repeat=3):
        if (a, via) in reach and (via, b) in reach:
            reach.add((a, b))
    together = {
        frozenset(str(b) for b in range(8) if (a, b) in reach and (b, a) in reach) for a in range(8) if (a, a) in reach
    }
    assert {frozenset(cycle) for cycle in found} == together


def test_calls_upwards_are_flagged_and_others_are_not():
    """Downwards, over a layer, within a layer and outside of all layers is allowed; upwards is not."""
    drawn = graph("web-order", "web-stock", "order-pay", "stock-order", "cron-stock", "stock-cron")
    found = drawn.against_layers([["web"], ["order", "pay"], ["stock"]])
    assert [(edge.caller, edge.callee) for edge in found] == [("stock", "order")]


def test_an_application_can_not_be_in_two_layers():
    """A declaration that contradicts itself is refused."""
    with pytest.raises(ValueError, match="order is in two layers"):
        graph("web-order").against_layers([["web", "order"], ["order"]])


def test_edges_of_several_servers_of_one_application_are_added():
    """Calls and failures are summed per caller, callee and service."""
    rows = [
        RowState(caller="web", service="stock/1", method="reserve", calls=3, failed=1),
        RowState(caller="web", service="stock/1", method="peek", calls=4),
        RowState(caller="", service="stock/1", method="peek", calls=1),
    ]
    drawn = CallGraph([*edges_of("stock", rows), *edges_of("stock", rows)])
    assert drawn.edges == [
        Edge(caller=UNKNOWN_CALLER, callee="stock", service="stock/1", calls=2),
        Edge(caller="web", callee="stock", service="stock/1", calls=14, failed=2),
    ]


def test_a_server_without_a_name_is_drawn_as_its_services():
    """An application that has no name still has a place in the graph."""
    edges = edges_of("", [RowState(caller="web", service="stock/1", method="peek", calls=1)])
    assert [edge.callee for edge in edges] == ["stock/1"]


def test_drawings_show_all_calls_and_the_circles():
    """Mermaid and DOT name each application and each call, and those of a circle stand out."""
    drawn = graph("web-order", "order-stock", "stock-order")
    mermaid, dot = drawn.mermaid(), drawn.dot()
    assert mermaid.startswith("flowchart LR\n")
    assert 'n2 -->|"order/1: 1"| n0' in mermaid
    assert 'n0 ==>|"stock/1: 1"| n1' in mermaid
    assert '"web" -> "order" [label="order/1: 1"];' in dot
    assert '"stock" -> "order" [label="order/1: 1", style=bold];' in dot


def test_a_callers_name_can_not_write_into_a_drawing():
    """Names come from callers: what has a meaning in the language of the drawing is escaped."""
    evil = 'x"]; click n0 "javascript:alert(1)"\n<script>'
    drawn = CallGraph([Edge(caller=evil, callee="stock", service="stock/1", calls=1)])
    assert "<script>" not in drawn.mermaid()
    assert all(line.count('"') % 2 == 0 for line in drawn.mermaid().splitlines())
    assert len(drawn.dot().splitlines()) == 6
    assert '\\"]; click' in drawn.dot()
