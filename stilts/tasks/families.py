"""The task families by name. Each module has the same functions:

encode(examples, tokenizer, settings) -> Encoded      arrays of a prepared set
tabulate(examples) -> pyarrow.Table                   what scoring needs of the examples
decode(prepared_set, examples_table, outputs) -> pyarrow.Table of predictions
score(predictions) -> {metric: percent}

`mlm` has `encode` alone.
"""

from __future__ import annotations

from types import ModuleType

from stilts.errors import UserError
from stilts.tasks import choice, mlm, pair, retrieval, span, tagging

FAMILIES: dict[str, ModuleType] = {
    "pair": pair,
    "choice": choice,
    "span": span,
    "tagging": tagging,
    "retrieval": retrieval,
    "mlm": mlm,
}


def family(name: str) -> ModuleType:
    """The module of a family; UserError for a name that is none."""
    if name not in FAMILIES:
        raise UserError(f"no task family {name!r}: use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
