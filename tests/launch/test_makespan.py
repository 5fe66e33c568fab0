"""The simulation against a slow and obvious one, and against bounds that no schedule escapes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.makespan import Node, TooLarge, longest_chain, simulate


def play_slowly(nodes: list[Node], gpus: int) -> float:
    """The same rule, without any of the machinery: look at everything at every moment at which a run ends."""
    ended: set[str] = set()
    ends: dict[str, float] = {}
    known = {node.id for node in nodes}
    now = 0.0
    while len(ended) < len(nodes):
        started = True
        while started:
            started = False
            busy = sum(round(node.gpus * 2520) for node in nodes if node.id in ends and node.id not in ended)
            for node in nodes:
                ready = node.id not in ends and all(need in ended or need not in known for need in node.needs)
                if ready and busy + round(node.gpus * 2520) <= gpus * 2520:
                    ends[node.id] = now + node.hours
                    started = True
                    break
        now = min(end for run_id, end in ends.items() if run_id not in ended)
        ended |= {run_id for run_id, end in ends.items() if end <= now}
    return now


@st.composite
def dags(draw: st.DrawFn) -> list[Node]:
    """Runs that need any of those before them, on no GPU, a share of one, or several."""
    count = draw(st.integers(1, 12))
    nodes = []
    for index in range(count):
        needs = draw(st.lists(st.integers(0, index - 1), unique=True, max_size=3)) if index else []
        hours = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 7.0]))
        gpus = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 4.0]))
        nodes.append(Node(f"n{index}", hours, gpus, (*(f"n{need}" for need in needs), "done before")))
    return nodes


@settings(deadline=None)
@given(dags(), st.integers(4, 9))
def test_it_is_what_the_obvious_loop_says_and_within_all_bounds(nodes: list[Node], gpus: int) -> None:
    found = simulate(nodes, gpus)
    assert found == pytest.approx(play_slowly(nodes, gpus))
    assert found >= longest_chain(nodes) - 1e-9
    assert found >= sum(node.hours * node.gpus for node in nodes) / gpus - 1e-9
    assert found <= sum(node.hours for node in nodes) + 1e-9, "one after the other is always possible"


@given(dags())
def test_with_enough_gpus_only_the_longest_chain_counts(nodes: list[Node]) -> None:
    enough = int(sum(node.gpus for node in nodes)) + 4
    assert simulate(nodes, enough) == pytest.approx(longest_chain(nodes))


@given(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=15), st.integers(1, 5))
def test_independent_runs_stay_below_graham_s_bound(hours: list[float], gpus: int) -> None:
    nodes = [Node(f"n{index}", one, 1.0) for index, one in enumerate(hours)]
    assert simulate(nodes, gpus) <= sum(hours) / gpus + max(hours) * (1 - 1 / gpus) + 1e-9


def test_by_hand() -> None:
    """Two trainings on two GPUs, then two children of the longer one; a third waits until both GPUs are free."""
    nodes = [Node("a", 2, 1), Node("b", 3, 1), Node("c", 1, 1, ("b",)), Node("d", 1, 1, ("b",)), Node("e", 5, 2)]
    assert simulate(nodes, 2) == 9  # 3 of a and b, 1 of c and d, 5 of e
    assert simulate(nodes, 4) == 5
    assert longest_chain(nodes) == 5
    shares = [Node(f"s{index}", 1, 1 / 3) for index in range(7)]
    assert simulate(shares, 1) == 3  # three at once


def test_a_run_that_is_larger_than_the_cluster() -> None:
    with pytest.raises(TooLarge, match="b asks for 4 GPUs, there are 2"):
        simulate([Node("a", 1, 1), Node("b", 1, 4)], 2)
    assert simulate([], 1) == 0
