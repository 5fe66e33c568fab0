"""CUDA graphs compute what the same kernels compute one by one."""

from __future__ import annotations

import pytest
import torch

from tests.bench.measured import compare_passes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_draw_and_learn_what_single_kernels_do() -> None:
    found = compare_passes(torch.device("cuda:0"))
    assert found["attention"] == "packed, flash"
    assert [found[name]["graphs"] for name in ("eager", "spoiled")] == [0, 1]
    assert found["graphs"]["graphs"] > 1
    assert found["last"] < found["first"] - 0.3
    # bf16 and sums in another order; other dropout would be a hundred times as far.
    assert max(found[name]["difference"] for name in ("graphs", "spoiled")) < 0.02
