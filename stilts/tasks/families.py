"""The task families by name. Each module has the same functions:

encode(examples, tokenizer, settings) -> Encoded      arrays of a prepared set
tabulate(examples) -> pyarrow.Table                   what scoring needs of the examples
decode(prepared_set, examples_table, outputs) -> pyarrow.Table of predictions
annotate(table, task) -> pyarrow.Table                with what the metrics need of each row, null without labels
tune({set name: table}) -> {set name: table}          with what is chosen on dev for the other sets
score(table, metrics) -> {metric: percent}            of annotated and tuned rows of one language
count(table) -> int                                   scored examples

`mlm` has `encode` alone. Nothing here imports torch, transformers or tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from stilts.errors import UserError
from stilts.tasks import choice, mining, mlm, pair, retrieval, span, tagging

if TYPE_CHECKING:
    import pyarrow as pa

FAMILIES: dict[str, ModuleType] = {
    "pair": pair,
    "choice": choice,
    "span": span,
    "tagging": tagging,
    "retrieval": retrieval,
    "mining": mining,
    "mlm": mlm,
}


def family(name: str) -> ModuleType:
    """The module of a family; UserError for a name that is none."""
    if name not in FAMILIES:
        raise UserError(f"no task family {name!r}: use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def finish_tables(name: str, task: str, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Prediction tables of a task's sets by set name (dev.de, test.de, ...), ready for their family's `score`."""
    module = family(name)
    finished: dict[str, pa.Table] = module.tune({key: module.annotate(table, task) for key, table in tables.items()})
    return finished
