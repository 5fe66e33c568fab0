"""What people have ordered about runs: held, cancelled, tried again. Kept in the campaign, so that orders last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from launch.campaign import Campaign
from launch.observation.states import LIVE, Observation
from launch.slurm import this_user
from stilts.runs import read_json, write_json


@dataclass
class Orders:
    """`held` and `cancelled`: run to when and by whom, in words. `pardoned`: run to the time (seconds of the epoch) up
    to which its failures are not counted any more. `released`: arrays (their tags) whose breaker was overruled."""

    path: Path
    held: dict[str, str] = field(default_factory=dict)
    cancelled: dict[str, str] = field(default_factory=dict)
    pardoned: dict[str, float] = field(default_factory=dict)
    released: dict[str, float] = field(default_factory=dict)

    def hold(self, run_ids: Iterable[str]) -> None:
        self.held.update(dict.fromkeys(run_ids, f"held by {_who()}; grid.py release lets it go"))

    def cancel(self, run_ids: Iterable[str]) -> None:
        self.cancelled.update(dict.fromkeys(run_ids, f"cancelled by {_who()}; grid.py retry submits it again"))

    def release(self, run_ids: Iterable[str], tags: Iterable[str] = ()) -> None:
        for run_id in run_ids:
            self.held.pop(run_id, None)
        self.released.update(dict.fromkeys(tags, time.time()))

    def pardon(self, run_ids: Iterable[str]) -> None:
        """Forget cancellations and count failures from now on anew."""
        for run_id in run_ids:
            self.cancelled.pop(run_id, None)
            self.pardoned[run_id] = time.time()

    def save(self) -> None:
        kept = {name: getattr(self, name) for name in ("held", "cancelled", "pardoned", "released")}
        if read_json(self.path) != kept:
            write_json(self.path, kept)

    def of(self, run_id: str) -> str | None:
        """Why a run is not to be submitted; None where nobody has said so."""
        return self.cancelled.get(run_id) or self.held.get(run_id)


def read_orders(campaign: Campaign) -> Orders:
    """The orders of a campaign; none where there is no file."""
    path = campaign.folder / "orders.json"
    record = read_json(path) or {}
    return Orders(
        path,
        {run: str(why) for run, why in _mapping(record, "held").items()},
        {run: str(why) for run, why in _mapping(record, "cancelled").items()},
        {run: float(t) for run, t in _mapping(record, "pardoned").items() if isinstance(t, int | float)},
        {tag: float(t) for tag, t in _mapping(record, "released").items() if isinstance(t, int | float)},
    )


def _mapping(record: Mapping[str, object], key: str) -> dict[str, object]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def show_orders(observations: Mapping[str, Observation], orders: Orders) -> dict[str, Observation]:
    """Observations in which a run that waits for somebody's word says so. What runs or is done stays what it is.

    A run that was cancelled by order is cancelled, whatever Slurm remembers of its job: of one that had never become
    eligible it remembers nothing.
    """
    shown = dict(observations)
    for run_id in {**orders.held, **orders.cancelled}.keys() & shown.keys():
        seen = shown[run_id]
        if seen.state in ("done", *LIVE):
            continue
        if run_id in orders.cancelled:
            shown[run_id] = replace(seen, state="cancelled", reason=orders.cancelled[run_id])
        elif seen.state == "planned":
            shown[run_id] = replace(seen, reason=orders.held[run_id])
    return shown


def _who() -> str:
    return f"{this_user()} on {time.strftime('%Y-%m-%d %H:%M')}"
