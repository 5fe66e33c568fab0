"""What a grid file may say: typed models of the YAML, read with every problem reported at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from launch.axes import check_axes, suite_of
from launch.checks import check_blocks
from launch.resources import ResourceRule
from launch.scale import Scale, check_scale
from stilts.document import read_document, unknown, validate
from stilts.errors import UserError
from stilts.settings import (
    MlmSettings,
    PretrainSettings,
    RetrievalSettings,
    Settings,
    ToySettings,
    TrainingSettings,
    TranslationSettings,
)

GRIDS = Path(__file__).parent / "grids"
Assignment = dict[str, Any]


class Grid(Settings):
    """One grid file. `axes` are multiplied; each group of `zip` runs in step; `scale` adds its points in the place of
    `intermediate`; then `include` and `exclude`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    suite: Literal["xtreme", "toy"] = "xtreme"
    data_root: str | None = Field(None, pattern=r"^[^\x00]+$")
    hub: list[str] = Field(default_factory=list)
    revisions: dict[str, str] = Field(default_factory=dict)
    languages: dict[str, list[str]] = Field(default_factory=dict)
    axes: dict[str, Any]
    scale: Scale | None = None
    zip: list[dict[str, list[Any]]] = Field(default_factory=list)
    include: list[Assignment] = Field(default_factory=list)
    exclude: list[Assignment] = Field(default_factory=list)
    toy: ToySettings = ToySettings()
    pretrain: PretrainSettings = PretrainSettings()
    mlm: MlmSettings = MlmSettings()
    translation: TranslationSettings = TranslationSettings()
    intermediate: TrainingSettings = TrainingSettings()
    target: TrainingSettings = TrainingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    resources: list[ResourceRule] = Field(default_factory=list)
    keep: bool = False
    report_to: list[Literal["tensorboard"]] = Field(default_factory=list)

    @field_validator("hub", "report_to", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("languages", mode="before")
    @classmethod
    def _list_is_for_all(cls, value: Any) -> Any:
        if not isinstance(value, (list, dict)):
            raise ValueError("give a list of languages, or for single targets a list each")
        return {"all": value} if isinstance(value, list) else value

    @field_validator("axes")
    @classmethod
    def _axes_hold_lists(cls, axes: dict[str, Any]) -> dict[str, list[Any]]:
        return {name: values if isinstance(values, list) else [values] for name, values in axes.items()}

    def languages_of(self, target: str) -> list[str] | None:
        """The languages that the grid asks for; None: all of the target's."""
        return self.languages.get(target, self.languages.get("all"))

    def reads_hub(self, task: str) -> bool:
        """Whether a task comes from its hub set: where the grid says so, or names no folder of original files."""
        return self.suite == "xtreme" and (self.data_root is None or task in self.hub or "all" in self.hub)


def find_grid(name: str) -> Path:
    """A path, or the name of a file in `launch/grids/` with or without its suffix."""
    for candidate in (name, GRIDS / name, GRIDS / f"{name}.yaml"):
        if os.path.isfile(candidate):  # False, too, where the folder may not be read or the name is no path
            return Path(candidate)
    known = sorted(path.name for path in GRIDS.glob("*.yaml"))
    raise UserError(f"--grid: there is no file '{name}', and {unknown(f'grid {name!r}', name, known)}")


def load_grid(path: Path) -> Grid:
    """Read and check a grid file.

    Raises UserError with all problems: unknown keys, wrong types, duplicate keys, unknown tasks and values.
    """
    document = read_document(path)
    grid = validate(document, Grid)
    check_axes(document)
    check_scale(document, suite_of(document.value))
    check_blocks(document)
    document.check()
    assert grid is not None, "a grid without problems validates"
    folder = path.absolute().parent
    update: dict[str, Any] = {"axes": _with_paths(grid.axes, folder)}
    for key in ("zip", "include", "exclude"):
        update[key] = [_with_paths(group, folder) for group in getattr(grid, key)]
    if grid.data_root is not None:
        update["data_root"] = _absolute(grid.data_root, folder)
    if grid.translation.model is not None:
        model = _model_path(grid.translation.model, folder)
        update["translation"] = grid.translation.model_copy(update={"model": model})
    return grid.model_copy(update=update)


def _with_paths(axes: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Axes whose models given as paths are absolute: jobs start in another folder."""
    changed = dict(axes)
    for name in ("model", "translation.model"):
        if name in axes:
            values = axes[name] if isinstance(axes[name], list) else [axes[name]]
            changed[name] = [_model_path(value, folder) if value else value for value in values]
    return changed


def _model_path(name: str, folder: Path) -> str:
    """A model by its name, or by an absolute path where it begins as a relative one (`./`, `../`, `~`)."""
    return _absolute(name, folder) if name[0] in ".~" else name


def _absolute(path: str, folder: Path) -> str:
    """A path of a grid file, which is relative to the file's folder."""
    return os.path.normpath(folder / os.path.expanduser(path))
