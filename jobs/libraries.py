"""What each stage imports, imported at once and without looking for garbage meanwhile."""

from __future__ import annotations

import gc
from importlib import import_module

_SCORING = ("stilts.evaluation.score", "transformers.models.xlm_roberta.modeling_xlm_roberta")
_TRAINING = (*_SCORING, "stilts.training.train")

LIBRARIES: dict[str, tuple[str, ...]] = {
    "fetch": ("stilts.data.fetch",),
    "translate": ("stilts.translation.translator",),
    "prepare": ("stilts.data.prepare",),
    "pretrain": (*_TRAINING, "stilts.model.scratch"),
    "intermediate": _TRAINING,
    "target": _TRAINING,
    "retrieval": _SCORING,
}


def import_libraries(*modules: str) -> None:
    """Import modules. A million objects are made that all stay: looking through them again and again for what may go
    takes a sixth of the time, and would later take a part of every training's."""
    gc.disable()
    try:
        for module in modules:
            import_module(module)
        gc.freeze()
    finally:
        gc.enable()
