"""Training on one GPU against the Trainer of transformers: XLM-R Large of random weights, no download, no checkpoint.

python3 tests/bench/gpu.py OUT [--parts PART ...] [--leave-out REGEX] [--limit-s S] [--tiny]

Writes OUT/gpu.json after each row and OUT/gpu.md after each part; parts that are asked for one by one add to what is
there. After `--limit-s` seconds no further row begins. `--tiny`: a small encoder, on whatever device there is, to try
the program itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

STARTED = time.time()
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from stilts.training.settings import Layout  # noqa: E402
from stilts.training.world import close_distributed  # noqa: E402
from tests.bench.measured import Row, compare_passes, run_ours, run_trainer  # noqa: E402
from tests.bench.synthetic import LARGE, Workload, make_model  # noqa: E402

TINY = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
COLOCATED = (1, 2, 4, 6)


@dataclass
class Report:
    """What was measured, written as it grows."""

    folder: Path
    device: torch.device
    geometry: dict[str, int]
    tiny: bool
    leave_out: str = "$^"
    limit_s: float = float("inf")
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, tiny: bool, leave_out: str, limit_s: float) -> Report:
        """The report in a folder, with what is there already."""
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / "gpu.json"
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        values = json.loads(known.read_text()) if known.exists() else {}
        return cls(folder, device, TINY if tiny else LARGE, tiny, leave_out, limit_s, values)

    def add(self, name: str, value: Any) -> None:
        self.values[name] = value
        (self.folder / "gpu.json").write_text(json.dumps(self.values, indent=1, default=str))
        shown = (
            {key: v for key, v in value.items() if key not in ("losses", "facts")} if isinstance(value, dict) else value
        )
        print(f"[{time.time() - STARTED:5.0f} s] {name}: {shown}", flush=True)

    def attempt(self, name: str, work: Callable[[], Any]) -> None:
        """Go on with the next row where one fails."""
        if re.search(self.leave_out, name) or time.time() - STARTED > self.limit_s:
            print(f"[{time.time() - STARTED:5.0f} s] {name}: left out", flush=True)
            return
        try:
            value = work()
            self.add(name, value.record() if isinstance(value, Row) else value)
        except Exception:
            self.add(name, {"failed": traceback.format_exc()[-3000:]})

    def draw(self, mix: str, batch_size: int, updates: int) -> Workload:
        if self.tiny:
            batch_size, updates = 4, 9
        return Workload.draw(mix, batch_size, updates, self.geometry, "bf16")


def describe(report: Report) -> dict[str, Any]:
    import transformers

    cuda = report.device.type == "cuda"
    commit = (
        os.environ.get("STILTS_COMMIT")
        or subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit,
        "gpu": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "imports_s": round(time.time() - STARTED, 1),
    }


def measure_ceilings(report: Report) -> dict[str, float]:
    """bf16 products of random 8192 x 8192 matrices, and copies of 4 GB, both the median of 10."""
    size, copied = (256, 10**6) if report.tiny else (8192, 4 * 10**9)
    a, b = (torch.randn(size, size, device=report.device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(copied, dtype=torch.uint8, device=report.device)
    target = torch.empty_like(source)
    product_s, copy_s = _median(lambda: a @ b), _median(lambda: target.copy_(source))
    return {"matrix_tflops": 2 * size**3 / product_s / 1e12, "copy_tb_per_s": 2 * copied / copy_s / 1e12}


def _median(work: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(13):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[3:])[5]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def check_attention(report: Report) -> dict[str, float]:
    """The kernel against the same function on a CPU in fp32: relative error of outputs and gradients, and whether
    dropout keeps the mean."""
    from stilts.model.attention import attend

    bounds = torch.tensor([0, 70, 71, 71, 200, 256], dtype=torch.int32)
    draw = torch.randn(3, 1, 16, 256, 64, generator=torch.Generator().manual_seed(0))
    grads, outputs = [], []
    for device, dtype in ((torch.device("cpu"), torch.float32), (report.device, torch.bfloat16)):
        states = [x.to(device, dtype).requires_grad_() for x in draw.to(torch.bfloat16).float()]
        q, k, v = states
        out, _ = attend(
            torch.nn.Identity(), q, k, v, None, 0.0, 0.125, cu_seq_lens_q=bounds.to(device), max_length_q=129
        )
        (out.float() ** 2).sum().backward()
        outputs.append(out.detach().float().cpu())
        grads.append(torch.stack([state.grad.float().cpu() for state in states]))
    ones = torch.ones(1, 16, 256, 64, device=report.device, dtype=torch.bfloat16)
    query = draw[0].to(report.device, torch.bfloat16)
    dropped, _ = attend(
        torch.nn.Identity(), query, query, ones, None, 0.1, cu_seq_lens_q=bounds.to(report.device), max_length_q=129
    )
    return {
        "output_error": float((outputs[1] - outputs[0]).norm() / outputs[0].norm()),
        "gradient_error": float((grads[1] - grads[0]).norm() / grads[0].norm()),
        "mean_after_dropout": float(dropped.float().mean()),
        "deviation_after_dropout": float(dropped.float().std()),
    }


def compare_losses(report: Report, mix: str, batch_size: int) -> dict[str, Any]:
    """50 updates without dropout in bf16, ours packed, ours padded, ours padded in smaller micro-batches (pairs alone),
    the Trainer (which must have run before: it takes a process group for a sign of several processes), each against
    the same training in fp32: the largest and the mean difference of a loss."""
    work = draw_for_losses(report, mix, batch_size)
    curves = {"trainer": report.values.get(f"losses {mix} trainer", {}).get("losses", [])}
    layouts = {"packed": Layout(), "padded": Layout(packed=False)}
    if mix == "mnli":
        layouts["recut"] = Layout(packed=False, micro_tokens=1_024)
    for name, layout in layouts.items():
        curves[name] = run_ours(name, work, report.device, layout).losses
    exact = run_ours("fp32", dataclasses.replace(work, precision="fp32"), report.device, Layout()).losses
    found = {f"{name} to fp32": [_largest(curve, exact), _mean(curve, exact)] for name, curve in curves.items()}
    found["packed to padded"] = [measure(curves["packed"], curves["padded"]) for measure in (_largest, _mean)]
    return found | {"first": exact[0], "last": exact[-1], "curves": curves | {"fp32": exact}}


def draw_for_losses(report: Report, mix: str, batch_size: int) -> Workload:
    """At a rate that a model of random weights bears: at the recipe's, rounding alone leads to another curve."""
    return dataclasses.replace(report.draw(mix, batch_size, 50), dropout=0.0, learning_rate=2e-6)


def _largest(a: list[float], b: list[float]) -> float:
    return max((abs(x - y) for x, y in zip(a, b, strict=False)), default=float("nan"))


def _mean(a: list[float], b: list[float]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=False)) / max(len(a), 1)


# Name of a workload: mix, effective batch, updates of the Trainer's rows (0: none), of ours.
ROWS = {
    "mnli 32": ("mnli", 32, 24, 240),
    "mnli 24": ("mnli", 24, 24, 240),
    "squad 16": ("squad", 16, 24, 150),
    "squad 32": ("squad", 32, 24, 120),
    "squad 64": ("squad", 64, 24, 90),
    "squad 128": ("squad", 128, 24, 45),
}
TWICE = ("mnli 32", "squad 16")


def run_checks(report: Report) -> None:
    report.attempt("ceilings", lambda: measure_ceilings(report))
    report.attempt("attention", lambda: check_attention(report))


def run_stock_rows(report: Report) -> None:
    for name, (mix, batch, updates, _) in ROWS.items():
        strategies = ("sequential", "group_by_length") if name in TWICE else ("sequential",)
        for strategy in strategies if updates else ():
            work = report.draw(mix, batch, updates)
            report.attempt(f"{name} trainer {strategy}", partial(run_trainer, "trainer", work, report.device, strategy))
    for mix, batch in (("mnli", 32), ("squad", 16)):
        work = draw_for_losses(report, mix, batch)
        report.attempt(f"losses {mix} trainer", partial(run_trainer, "trainer", work, report.device))


def run_our_rows(report: Report) -> None:
    for name, (mix, batch, _, updates) in ROWS.items():
        run_row(report, f"{name} ours", report.draw(mix, batch, updates), Layout())


def run_variants(report: Report) -> None:
    """What each part of it gains."""
    run_row(report, "mnli 32 ours, no graphs", report.draw("mnli", 32, 80), Layout(cuda_graphs=False))
    for name in TWICE:
        mix, batch, _, updates = ROWS[name]
        run_row(report, f"{name} ours, padded", report.draw(mix, batch, updates // 3), Layout(packed=False))


def run_row(report: Report, name: str, work: Workload, layout: Layout, **how: bool) -> None:
    report.attempt(name, partial(run_ours, "ours", work, report.device, layout, **how))


def run_compiled_rows(report: Report) -> None:
    """An experiment that the product does not use: see RESULTS.md."""
    for name in ("squad 128", "squad 64", "mnli 32"):
        mix, batch, _, updates = ROWS[name]
        run_row(report, f"{name} ours, compiled", report.draw(mix, batch, updates), Layout(), compiled=True)


def run_losses(report: Report) -> None:
    report.attempt("losses mnli", lambda: compare_losses(report, "mnli", 32))
    report.attempt("losses squad", lambda: compare_losses(report, "squad", 16))


def run_colocated(report: Report) -> None:
    from tests.bench.colocated import run_together

    report.attempt("colocated", lambda: run_together(COLOCATED, report.folder, report.tiny))


# The Trainer first: it takes the process group that our loop leaves for a sign of several processes.
PARTS = {
    "checks": run_checks,
    "stock": run_stock_rows,
    "graphs": lambda report: report.attempt("graphs", lambda: compare_passes(report.device)),
    "ours": run_our_rows,
    "losses": run_losses,
    "colocated": run_colocated,
    "variants": run_variants,
    "compiled": run_compiled_rows,
}


def flop_per_token(work: Workload) -> float:
    """Arithmetic of a forward and a backward pass: 6 for each weight of the layers, and attention (12 x the
    sequence's length x width x layers)."""
    size, layers = work.geometry["hidden_size"], work.geometry["num_hidden_layers"]
    lengths = work.training_set.lengths.astype(float)
    return 6 * 12 * size**2 * layers + 12 * size * layers * float((lengths**2).sum() / lengths.sum())


def write_table(report: Report) -> str:
    values = report.values
    lines = ["| row | real tokens/s | x Trainer | ms/update | pads | peak GB | first step s | of matrix rate |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    rate = values.get("ceilings", {}).get("matrix_tflops", float("nan"))
    for name, row in values.items():
        if not isinstance(row, dict) or "tokens_per_s" not in row or name.startswith("losses"):
            continue
        mix, batch = name.split()[:2]
        base = values.get(f"{mix} {batch} trainer sequential", {}).get("tokens_per_s", float("nan"))
        share = row["tokens_per_s"] * flop_per_token(report.draw(mix, int(batch), 30)) / 1e12 / rate
        lines.append(
            f"| {name} | {row['tokens_per_s']:,.0f} | {row['tokens_per_s'] / base:.2f} | {row['update_ms']:.1f} | "
            f"{row['pad_share']:.1%} | {row['peak_gb']:.1f} | {row['first_step_s']:.1f} | {share:.1%} |"
        )
    for name in ("machine", "ceilings", "attention", "graphs", "colocated"):
        lines += ["", f"{name}: {json.dumps(values.get(name), default=str)}"]
    for mix in ("mnli", "squad"):
        found = {k: v for k, v in (values.get(f"losses {mix}") or {}).items() if k != "curves"}
        lines += ["", f"losses {mix} (largest and mean difference over 50 updates): {json.dumps(found)}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=[name for name in PARTS if name != "compiled"])
    parser.add_argument("--leave-out", default="$^", help="rows whose names match are not run")
    parser.add_argument("--limit-s", type=float, default=float("inf"))
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    report = Report.open(options.out, options.tiny, options.leave_out, options.limit_s)
    report.attempt("machine", lambda: describe(report))
    make_model(report.geometry, "pair", 0.1, report.device)  # the device's own start is no one's first step
    for name in options.parts:
        PARTS[name](report)
        (report.folder / "gpu.md").write_text(write_table(report))
    print(write_table(report), flush=True)
    close_distributed()


if __name__ == "__main__":
    main()
