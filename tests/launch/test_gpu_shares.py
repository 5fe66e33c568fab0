"""The GPU cap: whatever starts when, the arrays in the queue cannot use more, and what is free is not left unused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.gpu_shares import Share, admit, rebalance
from launch.reconcile import Array
from launch.resources import Resources
from stilts.errors import UserError


@st.composite
def arrays(draw: st.DrawFn) -> list[Array]:
    """Arrays in which some wait for a run of an earlier one."""
    made: list[Array] = []
    for place in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 9))
        runs = tuple(f"{place}.{number}" for number in range(size))
        resources = Resources(gpus=draw(st.integers(0, 4)), nodes=draw(st.integers(1, 2)))
        parent = draw(st.sampled_from([None, *(array.runs[0] for array in made)]))
        made.append(Array(runs, resources, after_ok=parent))
    return made


shares = st.lists(st.builds(Share, st.integers(1, 4), st.integers(1, 9), st.integers(1, 12)), max_size=5)


@given(arrays(), shares, st.integers(8, 40), st.integers(1, 8))
def test_new_arrays_stay_below_the_cap(new: list[Array], live: list[Share], cap: int, parallelism: int) -> None:
    before = sum(share.used for share in live)
    allowed = admit(new, live, cap, parallelism)
    used = sum(array.gpus * allowed[place] for place, array in enumerate(new) if place in allowed)
    assert before + used <= max(cap, before)
    for place, array in enumerate(new):
        if place in allowed and array.gpus:
            assert 1 <= allowed[place] <= min(len(array.runs), parallelism)
        parent = next((p for p, other in enumerate(new) if array.after_ok in other.runs), None)
        if place in allowed and parent is not None:
            assert parent in allowed, "nothing is submitted before what it is built on"
        if place not in allowed:
            assert array.gpus or parent is not None, "runs without a GPU wait for none"


@given(shares, st.integers(1, 60))
def test_arrays_in_the_queue_get_what_is_free_and_give_back_what_is_not(live: list[Share], cap: int) -> None:
    least = sum(share.gpus for share in live)
    changed = rebalance(live, cap)
    used = sum(share.used for share in live)
    assert used <= max(cap, least)
    assert all(share.allowed >= 1 for share in live)
    hungry = [share for share in live if share.allowed < share.left]
    assert not hungry or used + min(share.gpus for share in hungry) > cap, "no GPU is left that an array could use"
    assert rebalance(live, cap) == [] and all(share in live for share in changed)


def test_shares_are_even() -> None:
    new = [Array(tuple(f"{p}.{n}" for n in range(100)), Resources(gpus=1)) for p in range(3)]
    assert admit(new, [], 10, 256) == {0: 4, 1: 3, 2: 3}


def test_a_run_that_alone_needs_more_than_the_cap_is_refused() -> None:
    with pytest.raises(UserError, match=r"max_gpus: 4, but wide alone needs 8"):
        admit([Array(("wide",), Resources(gpus=4, nodes=2))], [], 4, 256)
