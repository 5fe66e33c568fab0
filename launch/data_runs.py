"""Runs that bring models and data and make them ready: fetch, pretrain, translate and prepare."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from launch.axes import known_languages
from launch.names import slug_of
from launch.recipes import Bundle
from launch.sources import describe_source, is_at_hand
from launch.spec import Grid
from stilts.errors import UserError
from stilts.runs import Run
from stilts.settings import MlmSettings, TranslationSettings
from stilts.tasks.catalogue import MLM, TARGETS, TEXT, served_targets, splits, target_languages, task_family

TRANSLATABLE = ("pair", "choice", "span")  # labels of single words do not survive a translation


class Put(Protocol):
    """Adds a run to the plan unless it is there, and returns the one that is."""

    def __call__(
        self, stage: str, slug: str, config: dict[str, Any], parents: tuple[str, ...], tasks: tuple[str, ...]
    ) -> Run: ...


class DataRuns:
    """What trainings and scorings of one grid stand on. `asked` are the targets that the grid names."""

    def __init__(self, grid: Grid, asked: set[str], put: Put) -> None:
        self.grid, self.asked, self.put = grid, asked, put
        self.base: Callable[[str, Bundle], Run] = lru_cache(maxsize=None)(self._base)
        self.prepared: Callable[[str, str, Run, int], Run] = lru_cache(maxsize=None)(self._prepared)
        self.translated: Callable[[str, Run, int, Bundle], Run] = lru_cache(maxsize=None)(self._translated)
        self.served: Callable[[str], tuple[str, ...]] = lru_cache(maxsize=None)(self._served)

    def _base(self, model: str, bundle: Bundle) -> Run:
        """The pretrained encoder: fetched by name or path, or made from scratch."""
        if model != "scratch":
            return self._model(model)
        settings, toy = bundle.pretrain, self.grid.suite == "toy"
        if not settings.text and not toy:
            raise UserError(
                "model 'scratch' learns from the campaign's own text: name its tasks under pretrain.text, for "
                "example `pretrain: {text: [mnli, squad1, xnli]}`"
            )
        texts = tuple(sorted(settings.text)) or (TEXT,)
        parents = tuple(self.fetched(*_text_source(name)).id for name in texts)
        return self.put("pretrain", "scratch", {**settings.changed(), "text": list(texts)}, parents, ("scratch",))

    def _model(self, model: str, **role: str) -> Run:
        slug = "model-" + slug_of(model.rstrip("/").rsplit("/", 1)[-1])
        revision = self.grid.revisions.get(model, "main")
        return self.put("fetch", slug, {"kind": "model", "model": model, "revision": revision, **role}, (), ("model",))

    def fetched(self, task: str, part: str) -> Run:
        """The original data of a task."""
        config: dict[str, Any] = {"kind": "data", "suite": self.grid.suite, "task": task, "part": part}
        if part == "scored":
            config["languages"] = self.languages(task)
        if self.grid.suite == "toy":
            config["toy"] = self.grid.toy.changed()
        config |= describe_source(task, part, self.grid)
        return self.put("fetch", task if task == TEXT else f"{task}-{part}", config, (), (task,))

    def languages(self, target: str) -> list[str]:
        """The languages that a target is scored in."""
        suite = self.grid.suite
        expected = sorted({code for split in splits(target) for code in target_languages(target, split, suite)})
        asked = self.grid.languages_of(target)
        chosen = expected if asked is None else [language for language in expected if language in asked]
        if not chosen and target in self.asked:
            raise UserError(
                f"target '{target}' has none of the languages that the grid asks for ({', '.join(asked or [])}); "
                f"it has {', '.join(expected)}"
            )
        return chosen

    def _prepared(self, task: str, part: str, base: Run, max_length: int) -> Run:
        """Tokenised once for each (task, tokenizer, length)."""
        parents = (base.id, self.fetched(task, part).id)
        return self.put("prepare", f"{task}-{part}", self._prepare_config(task, part, max_length), parents, (task,))

    def _prepare_config(self, task: str, part: str, max_length: int) -> dict[str, Any]:
        config: dict[str, Any] = {"suite": self.grid.suite, "task": task, "part": part, "max_length": max_length}
        if task_family(task) == "span":
            config["stride"] = max_length // 3  # 128 of 384, as XTREME's scripts
        return config

    def mlm(self, base: Run, settings: MlmSettings) -> Run:
        """The multilingual text of masked language modelling, tokenised; all languages of the suite by default."""
        if base.stage == "pretrain" and not base.config.get("steps"):
            raise UserError(
                "mlm: true goes on with the head that predicts words, and model 'scratch' has none before it has been "
                "trained; set pretrain.steps, for example `pretrain: {steps: 1400}`"
            )
        languages = sorted(settings.languages) or known_languages(self.grid.suite)
        config: dict[str, Any] = {"kind": "data", "suite": self.grid.suite, "task": MLM, "part": "train"}
        config |= {"languages": languages, "sentences": settings.sentences}
        config |= {"exponent": settings.exponent, "seed": settings.seed}
        if self.grid.suite == "toy":
            config["toy"] = self.grid.toy.changed()
        config |= describe_source(MLM, "train", self.grid, languages)
        parents = (base.id, self.put("fetch", f"{MLM}-train", config, (), (MLM,)).id)
        prepared = self._prepare_config(MLM, "train", settings.max_length)
        return self.put("prepare", f"{MLM}-train", prepared, parents, (MLM,))

    def _translated(self, task: str, base: Run, max_length: int, bundle: Bundle) -> Run:
        """A training set in English and in the languages that it is translated into, tokenised together."""
        settings = bundle.translation
        if task_family(task) not in TRANSLATABLE:
            raise UserError(
                f"translated: {task} cannot be translated, for its labels belong to single words; leave its translated "
                f"rows out, for example `exclude: [{{translated: true, intermediate: {task}}}]`"
            )
        if not settings.languages:
            raise UserError(
                "translated: true needs languages; name them, for example `translation: {languages: [de, ru]}`"
            )
        english, languages = self.fetched(task, "train"), sorted(settings.languages)
        sources = [run.id for run in self._translations(task, english, languages, settings)]
        config = {**self._prepare_config(task, "train", max_length), "translated": languages}
        return self.put("prepare", f"{task}-train-translated", config, (base.id, english.id, *sources), (task,))

    def _translations(self, task: str, english: Run, languages: list[str], settings: TranslationSettings) -> list[Run]:
        suite = self.grid.suite
        if settings.model is None:
            if self.grid.data_root is None:
                raise UserError(
                    f"translated: {task}: name a `translation: {{model: ...}}` that translates it, or the `data_root` "
                    "that has its translations"
                )
            config = {"kind": "data", "suite": suite, "task": task, "part": "translated", "languages": languages}
            return [self.put("fetch", f"{task}-translated", config, (), (task,))]
        model = self._model(settings.model, role="translator")
        shards = range(1, settings.shards + 1)
        return [
            self.put(
                "translate",
                f"{task}-{language}-{shard}of{settings.shards}",
                {
                    "kind": "translate",
                    "suite": suite,
                    "task": task,
                    "language": language,
                    "shard": shard,
                    "shards": settings.shards,
                    "beams": settings.beams,
                    "max_length": settings.max_length,
                },
                (model.id, english.id),
                (task,),
            )
            for language in languages
            for shard in shards
        ]

    def _served(self, training: str) -> tuple[str, ...]:
        """Targets that a training is scored on: those that the grid asks for, and others whose data is at hand.

        A grid filters tables, not scoring; but it must not wait for files of targets that nobody asked for.
        """
        return tuple(
            target
            for target in served_targets(training, self.grid.suite)
            if target in self.asked or is_at_hand(target, self.languages(target), self.grid)
        )


def _text_source(name: str) -> tuple[str, str]:
    """(task, part) whose fetched files hold a text: a target's text is that of its languages."""
    return (name, "scored") if name in TARGETS else (name, "train")
