"""The campaign's page: one HTML file with the whole DAG, progress, GPU-hours, failures; no network needed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from launch.logs import find_logs, printable, tail
from launch.observation.states import STATES
from launch.scene import Scene
from launch.view.charts import draw_hours, draw_progress
from launch.view.layout import place_runs
from launch.view.overview import Overview, make_overview, spell_seconds, spent_hours
from launch.view.tables import summary_line
from stilts.failures import KINDS
from stilts.runs import write_text

_FOLDER = Path(__file__).parent / "assets"
_LOG_LINES = 12
_LOG_CHARACTERS = 2_000
_MOST_LOGS = 400  # of runs whose log's end is on the page; of the others the path is


def write_page(scene: Scene, path: Path, now: float | None = None) -> str:
    """Write the page, whole or not at all, and say what it is. `now` is the time that it states."""
    text = build_page(scene, make_overview(scene, now))
    write_text(path, text)
    return f"{path}: {len(scene.plan.runs):,} runs, {len(text.encode()) / 1e6:.1f} MB; opens in any browser, offline"


def build_page(scene: Scene, overview: Overview) -> str:
    """The page's text; the same scene at the same time gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = scene.plan.grid.name
    return environment.get_template("page.html").render(
        name=printable(name),
        clock=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(overview.now)),
        summary=printable(summary_line(overview)),
        overview=overview,
        stages=overview.stages,
        kinds=[(kind, count, KINDS[kind], printable(signature)) for kind, count, signature in overview.kinds],
        waiting=[(entry, spell_seconds(overview.now - entry.since)) for entry in overview.waiting],
        notes=[printable(note) for note in scene.notes],
        states=[(state, overview.counts[state]) for state in STATES],
        progress=Markup(draw_progress(overview)),  # noqa: S704 (numbers and our own words alone)
        hours=Markup(draw_hours(overview)),  # noqa: S704
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup((_FOLDER / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        data=Markup(embed(page_data(scene, overview))),  # noqa: S704
    )


def embed(value: Any) -> str:
    """JSON that may stand inside of a script element, whatever its texts say."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(scene: Scene, overview: Overview) -> dict[str, Any]:
    """The runs as the page's script reads them: one row each, texts and parents that many share in tables."""
    places, texts, needs = place_runs(scene.plan), _Table(), _Table()
    numbers = {run_id: number for number, run_id in enumerate(scene.plan.runs)}
    stages = [stage.stage for stage in overview.stages]
    logs = dict(_read_logs(scene))
    rows = []
    for run in scene.plan.runs.values():
        seen, attempts = scene.observations[run.id], overview.attempts[run.id]
        last = attempts[-1] if attempts else None
        rows.append(
            [
                run.id,
                stages.index(run.stage),
                STATES.index(seen.state),
                *places[run.id],
                needs.add(tuple(numbers[need] for need in run.needs)),
                texts.add(printable(seen.reason)[:300]),
                seen.job or "",
                round(spent_hours(scene, run.id, attempts, overview.now), 2),
                round(scene.plan.gpu_hours(run.id), 2),
                len(attempts),
                round(last.started) if last else 0,
                round(last.ended) if last and last.ended is not None else 0,
                texts.add(printable(last.node) if last else ""),
                texts.add(_tell_failure(scene, run.id)),
            ]
        )
    return {
        "states": list(STATES),
        "stages": stages,
        "texts": texts.values,
        "needs": [list(entry) for entry in needs.values],
        "runs": rows,
        "logs": {str(numbers[run_id]): log for run_id, log in logs.items()},
        "root": printable(str(scene.campaign.root)),
    }


def _tell_failure(scene: Scene, run_id: str) -> str:
    failure, decided = scene.recovery.failures.get(run_id), scene.recovery.answers.get(run_id)
    if failure is None:
        return ""
    return printable(f"{failure.kind}: {KINDS[failure.kind]}; {decided.text if decided else ''}")


def _read_logs(scene: Scene) -> Iterator[tuple[str, str]]:
    """The ends of logs: of all runs of a small campaign, else of those that somebody will ask about."""
    small = len(scene.plan.runs) <= _MOST_LOGS
    asked = ("failed", "running", *(("cancelled", "blocked", "done") if small else ()))
    order = {state: position for position, state in enumerate(asked)}
    chosen = [run_id for run_id in scene.plan.runs if scene.observations[run_id].state in order]
    chosen.sort(key=lambda run_id: order[scene.observations[run_id].state])
    for run_id in chosen[:_MOST_LOGS]:
        log = next(iter(find_logs(scene.campaign, scene.ledger, run_id)), None)
        if log is not None:
            yield run_id, tail(log, _LOG_LINES)[-_LOG_CHARACTERS:]


class _Table:
    """Values by number, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def add(self, value: Any) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]
