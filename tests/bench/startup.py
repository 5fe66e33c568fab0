"""From the start of a process to the end of its first update, here and with the Trainer of transformers; and what each
stage imports.

pip install --no-deps --target FOLDER accelerate
python tests/bench/startup.py FOLDER

The same random XLM-R of two layers, the same 64 tokenised sentence pairs, batches of 32, AdamW, float32, on the CPU.
"fork" is a run of the local pool: a fork of a process that has imported everything. Each is a process of its own, by
turns; the best of some counts. Processor seconds are those of the whole process up to then, whoever else uses the
machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [*sys.argv[1:2], str(ROOT)]

from jobs.libraries import LIBRARIES, import_libraries  # noqa: E402
from tests.bench import goals  # noqa: E402

WAYS, REPEATS, EXAMPLES, BATCH = ("here", "fork", "trainer"), 3, 64, 32


class Reached(Exception):
    """The first update is done."""


def make(folder: Path) -> None:
    """An encoder and a prepared training set."""
    from tests.stilts.prepared_folders import draw_examples, write_encoder, write_prepared

    encoder = write_encoder(folder / "encoder")
    write_prepared(folder / "data", "pair", encoder, {"train.en": draw_examples("pair", EXAMPLES)})


def train_here(folder: Path) -> None:
    """What a `target` job does, to its first update."""
    from stilts.training.heartbeat import Heartbeat
    from stilts.training.settings import Layout
    from stilts.training.train import Sources, train
    from stilts.training.world import World
    from tests.stilts.prepared_folders import training_config

    class Stopwatch(Heartbeat):
        def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
            if phase == "train" and step == 1:
                raise Reached

    config = training_config({"mnli": {"batch_size": BATCH, "epochs": 1}})
    layout = Layout(micro_tokens=4096, zero_stage=0)
    train(config, Sources(folder / "encoder", {"mnli": folder / "data"}), folder / "out", World.single(),
          Stopwatch(folder / "out"), layout)  # fmt: skip


def train_with_trainer(folder: Path) -> None:
    from torch.utils.data import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        PreTrainedTokenizerFast,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from stilts.data.prepared import Prepared

    one = Prepared.load(folder / "data").open("train.en")
    rows = [
        {"input_ids": one.sequence(row).tolist(), "label": int(one.arrays["labels"][row])} for row in range(len(one))
    ]

    class Rows(Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return rows[index]

    class Stopwatch(TrainerCallback):
        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            raise Reached

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "encoder" / "tokenizer.json"), pad_token="<pad>")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "encoder", num_labels=3)
    settings = TrainingArguments(
        str(folder / "trainer"), per_device_train_batch_size=BATCH, use_cpu=True, report_to="none", disable_tqdm=True
    )
    Trainer(model, settings, DataCollatorWithPadding(tokenizer), train_dataset=Rows(), callbacks=[Stopwatch()]).train()


def reach_first_update(way: str, folder: Path) -> None:
    """Print seconds of this process (or, of a fork, since it was forked) and its processor seconds."""
    os.environ.update(TORCHDYNAMO_DISABLE="1", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    started = float(sys.argv[4])
    if way == "fork":
        from jobs.warm import warm_up

        warm_up()
        started = time.time()
        if os.fork():
            os.wait()
            return
    elif way == "here":
        import_libraries(*LIBRARIES["target"])
    try:
        (train_with_trainer if way == "trainer" else train_here)(folder)
    except Reached:
        print(json.dumps([time.time() - started, time.process_time()]), flush=True)
        os._exit(0)


def import_stage(stage: str) -> None:
    """Print the processor seconds of a job's imports, the number of modules, and those that it should not need."""
    os.environ.update(TORCHDYNAMO_DISABLE="1", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    import jobs.run
    import jobs.stages  # noqa: F401

    import_libraries(*LIBRARIES[stage])
    told = [name for name in ("torch", "transformers", "deepspeed", "datasets", "pandas") if name in sys.modules]
    print(json.dumps([time.process_time(), len(sys.modules), told]))


def ask(*arguments: str) -> Any:
    """What this script prints last when it is started with these arguments."""
    command = [sys.executable, __file__, *arguments, str(time.time())]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main(trainer: str) -> None:
    with tempfile.TemporaryDirectory(prefix="startup-") as made:
        make(Path(made))
        found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
        for _, way in product(range(REPEATS), WAYS):
            found[way].append(ask(trainer, way, made))
    best = {way: [min(column) for column in zip(*runs, strict=True)] for way, runs in found.items()}
    print("from process start to the first update done")
    for way, (seconds, processor) in best.items():
        print(f"  {way:8} {seconds:6.2f} s, {processor:5.2f} processor seconds")
    for way, name in (("here", "a job"), ("fork", "a fork of the pool's server")):
        ratio = best["trainer"][1] / best[way][1]
        goals.compare(f"first update, processor time of the Trainer / {name}", ratio, least=1)
    print("imports of a job by stage, processor seconds")
    for stage in LIBRARIES:
        runs = [ask(trainer, "import", stage) for _ in range(2)]
        print(f"  {stage:13} {min(run[0] for run in runs):5.2f}  {runs[0][1]} modules, of them {', '.join(runs[0][2])}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    elif len(sys.argv) == 5 and sys.argv[2] == "import":
        import_stage(sys.argv[3])
    elif len(sys.argv) == 5:
        reach_first_update(sys.argv[2], Path(sys.argv[3]))
    else:
        raise SystemExit(f"no accelerate for the Trainer; {(__doc__ or '').partition(chr(10) * 2)[2]}")
