"""One row of a table: a training by our loop or by the Trainer of transformers, timed update by update."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from stilts.training.batches import Batch
from stilts.training.heartbeat import Heartbeat
from stilts.training.loop import optimise
from stilts.training.schedule import learning_rate
from stilts.training.settings import Layout
from stilts.training.world import World, init_distributed
from tests.bench.synthetic import PAD_ID, Workload


@dataclass
class Row:
    """What was measured. `tokens_per_s`: real tokens, of the updates after the first third; `tokens_per_cpu_s` per
    second of processor time, which says more than the clock where other programs run beside."""

    name: str
    tokens_per_s: float
    tokens_per_cpu_s: float
    pad_share: float
    peak_gb: float
    first_step_s: float
    update_ms: float
    losses: list[float] = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict, repr=False)

    def record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Clock:
    """When each update was over."""

    device: torch.device
    updates: int
    began: float = field(default_factory=time.perf_counter)
    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)

    @property
    def warm(self) -> int:
        """Updates that are not counted."""
        return self.updates // 3

    def tick(self) -> None:
        """An update is over. The GPU is waited for where a time is read later, nowhere else."""
        if self.device.type == "cuda" and len(self.times) + 1 in (1, self.warm, self.updates):
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        self.cpu_times.append(time.process_time())

    def rates(self, tokens: int) -> tuple[float, float]:
        """Per second, and per second of processor time, of so many real tokens after the warm-up."""
        wall, cpu = (times[-1] - times[self.warm - 1] for times in (self.times, self.cpu_times))
        return tokens / wall, tokens / cpu

    def update_ms(self) -> float:
        """Mean over the updates that are counted."""
        return 1000 * (self.times[-1] - self.times[self.warm - 1]) / (self.updates - self.warm)


class Ticker(Heartbeat):
    """Our loop's heartbeat as a clock."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder)
        self.clock = clock

    def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
        self.clock.tick()


def run_ours(name: str, work: Workload, device: torch.device, layout: Layout, compiled: bool = False) -> Row:
    """Our loop, from a model in memory. `compiled`: every layer by torch.compile, once for all sizes."""
    world = World(rank=0, local_rank=0, size=1, device=device)
    init_distributed(world)
    _reset_peak(device)
    training = work.training(device, layout)
    for layer in training.model.encoder.encoder.layer if compiled else ():
        layer.compile(dynamic=True)
    clock = Clock(device, work.updates)
    with tempfile.TemporaryDirectory() as folder:
        ticker = Ticker(Path(folder), clock)
        _, facts = optimise(training, world, ticker)
        losses = [json.loads(line)["loss"] for line in ticker.losses.read_text().splitlines()]
    peak = _peak_gb(device)
    del training
    _free(device)
    first = clock.times[0] - clock.began
    facts.pop("dev")
    rates = clock.rates(work.tokens(clock.warm, work.updates))
    return Row(name, *rates, facts["pad_share"], peak, first, clock.update_ms(), losses, facts)


def compare_passes(device: torch.device) -> dict[str, Any]:
    """Losses of a small training with dropout on a GPU, kernel by kernel, as CUDA graphs, and where the second graph
    cannot be recorded: numbers of graphs, and largest differences from the first."""
    geometry = {"vocab_size": 1_000, "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    work = dataclasses.replace(Workload.draw("mnli", 16, 30, geometry, "bf16"), learning_rate=1e-3)
    eager = run_ours("eager", work, device, Layout(cuda_graphs=False))
    graphed = run_ours("graphs", work, device, Layout())
    with _spoiled_graphs():
        spoiled = run_ours("spoiled", work, device, Layout())
    found: dict[str, Any] = {"attention": eager.facts["attention"]}
    for row in (eager, graphed, spoiled):
        difference = max(abs(a - b) for a, b in zip(row.losses, eager.losses, strict=True))
        found[row.name] = {"graphs": row.facts["graphs"], "difference": difference, "ms": row.update_ms}
    return found | {"first": eager.losses[0], "last": eager.losses[-1]}


@contextlib.contextmanager
def _spoiled_graphs() -> Iterator[None]:
    from stilts.training.graphs import Graphs

    whole = Graphs._pass

    def fail(self: Graphs, task: str, batch: Batch) -> torch.Tensor:
        if self.count == 1:
            torch.cuda.synchronize()
        return whole(self, task, batch)

    with mock.patch.object(Graphs, "_pass", fail):
        yield


def run_trainer(name: str, work: Workload, device: torch.device, strategy: str = "sequential") -> Row:
    """The Trainer with DataCollatorWithPadding. `sequential`: the examples come in random order already, and so are
    the same in each update as ours."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    _reset_peak(device)
    model = _make_stock(work, device)
    clock = Clock(device, work.updates)
    losses: list[torch.Tensor] = []
    real: list[torch.Tensor] = []
    padded: list[int] = []

    class Timer(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    class Listening(Trainer):
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            real.append(inputs["attention_mask"].sum())
            padded.append(inputs["attention_mask"].numel())
            loss = super().training_step(model, inputs, *args, **kwargs)
            losses.append(loss.detach())
            return loss

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if "labels" in inputs:
                return super().compute_loss(model, inputs, *args, **kwargs)
            return _mask_spans(model, inputs)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            rate = partial(learning_rate, updates=work.updates, peak=1.0, warmup_ratio=0.1)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, rate)
            return self.lr_scheduler

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=work.batch_size,
            learning_rate=work.learning_rate,
            weight_decay=0.01,
            adam_epsilon=1e-8,
            max_grad_norm=1.0,
            num_train_epochs=1,
            optim="adamw_torch_fused",
            bf16=work.precision == "bf16",
            use_cpu=device.type == "cpu",
            train_sampling_strategy=strategy,
            dataloader_num_workers=0 if device.type == "cpu" else 2,
            disable_tqdm=True,
            save_strategy="no",
            report_to=[],
            seed=1,
        )
        trainer = Listening(
            model=model,
            args=arguments,
            train_dataset=_make_rows(work),
            data_collator=_make_collator(),
            callbacks=[Timer()],
        )
        trainer.train()
    peak = _peak_gb(device)
    curve = torch.stack(losses).tolist()
    tokens = torch.stack(real).tolist()
    del trainer, model
    _free(device)
    first = clock.times[0] - clock.began
    rates = clock.rates(sum(tokens[clock.warm :]))
    return Row(name, *rates, 1 - sum(tokens) / sum(padded), peak, first, clock.update_ms(), curve)


def _mask_spans(model: Any, inputs: Any) -> torch.Tensor:
    """The loss of our span head: transformers' own gives probability to pads, so that it is another objective for each
    padding."""
    outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    pads, losses = inputs["attention_mask"].eq(0), []
    for logits, name in ((outputs.start_logits, "start_positions"), (outputs.end_logits, "end_positions")):
        masked = logits.float().masked_fill(pads, torch.finfo(torch.float32).min)
        losses.append(torch.nn.functional.cross_entropy(masked, inputs[name]))
    return torch.stack(losses).mean()


def _make_rows(work: Workload) -> list[dict[str, Any]]:
    """Examples as lists, as a tokenizer gives them."""
    names = {"labels": "labels", "starts": "start_positions", "ends": "end_positions"}
    offsets, tokens, labels = work.training_set.offsets, work.training_set.tokens, work.training_set.labels
    rows = []
    for index in range(len(work.training_set)):
        ids = tokens[offsets[index] : offsets[index + 1]].tolist()
        mine = {names[name]: int(values[index]) for name, values in labels.items()}
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), **mine})
    return rows


def _make_collator() -> Callable[[list[dict[str, Any]]], Any]:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<s>": 0, "<pad>": PAD_ID, "</s>": 2, "<unk>": 3}, unk_token="<unk>"))
    return DataCollatorWithPadding(PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>"))


def _make_stock(work: Workload, device: torch.device) -> Any:
    """transformers' own model with the weights of ours."""
    from transformers import XLMRobertaForQuestionAnswering, XLMRobertaForSequenceClassification

    from tests.bench.synthetic import LABELS, make_config, make_model

    pair = work.training_set.family == "pair"
    ours = make_model(work.geometry, work.training_set.family, work.dropout, device)
    config = make_config(work.geometry, work.dropout)
    config._attn_implementation, config.num_labels = "sdpa", LABELS if pair else 2
    with device:
        model = (XLMRobertaForSequenceClassification if pair else XLMRobertaForQuestionAnswering)(config)
    model.roberta.load_state_dict(ours.encoder.state_dict())
    head = ours.head("task").state_dict()
    if pair:
        renamed = {name.removeprefix("classifier.").replace("output", "out_proj"): v for name, v in head.items()}
        model.classifier.load_state_dict(renamed)
    else:
        model.qa_outputs.load_state_dict({name.removeprefix("output."): v for name, v in head.items()})
    return model


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
