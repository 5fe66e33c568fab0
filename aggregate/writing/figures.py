"""Figures of the study: vector PDF for LaTeX and SVG for pages, readable in grey and by the colour-blind.

Curves differ in marker and dashes, dots in their shape, cells of the heat map carry their numbers: no figure depends on
a hue alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aggregate.study import Study
from aggregate.writing.drawings.languages import draw_languages
from aggregate.writing.drawings.layers import draw_layers
from aggregate.writing.drawings.scaling import draw_scaling
from aggregate.writing.drawings.style import STYLE
from aggregate.writing.drawings.transfer import draw_transfer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each gives the figures that the study has something for, with their names.
FIGURES: tuple[Callable[[Study], Iterator[tuple[str, Figure]]], ...] = (
    draw_scaling,
    draw_transfer,
    draw_languages,
    draw_layers,
)


def draw_figures(study: Study) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every figure that the study has something for, each as PDF and as SVG."""
    import matplotlib

    matplotlib.use("Agg")  # no display on a login node
    matplotlib.rcParams.update(STYLE)
    for draw in FIGURES:
        for name, figure in draw(study):
            for kind, undated in (("pdf", "CreationDate"), ("svg", "Date")):
                buffer = io.BytesIO()
                with warnings.catch_warnings():
                    # A name in a script that the font lacks shows boxes; the tables have it whole.
                    warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
                    figure.savefig(buffer, format=kind, metadata={undated: None})
                yield f"figures/{name}.{kind}", buffer.getvalue()
