"""What a run's folder remembers of its failures: `failures.json`, one entry a failure, with what was done about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.campaign import Campaign
from launch.failures.evidence import Failure
from stilts.failures import KINDS
from stilts.runs import read_json, write_json


@dataclass(frozen=True)
class Entry:
    """One failure (`key`: its job and attempt) and the answer that it got, in words."""

    key: str
    kind: str
    signature: str
    reason: str
    node: str | None
    time: float
    answer: str = ""


def read_history(campaign: Campaign, run_id: str) -> list[Entry]:
    """Entries, oldest first; what is not whole is left out."""
    found = (read_json(_path(campaign, run_id)) or {}).get("failures", [])
    entries = [_read(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return [entry for entry in entries if entry is not None]


def _read(entry: Mapping[str, Any]) -> Entry | None:
    texts = {name: entry.get(name) for name in ("key", "kind", "signature", "reason", "answer")}
    node, when = entry.get("node"), entry.get("time")
    sound = all(isinstance(text, str) for text in texts.values()) and texts["kind"] in KINDS
    if not sound or not isinstance(when, int | float) or not isinstance(node, str | None):
        return None
    return Entry(**{name: str(text) for name, text in texts.items()}, node=node, time=float(when))


def make_entry(failure: Failure) -> Entry:
    """An entry of a failure that was seen now."""
    reason = failure.reason[:2000]
    return Entry(failure.key, failure.kind, failure.signature, reason, failure.node, time.time())


def append_entry(campaign: Campaign, run_id: str, entry: Entry, evidence: str) -> None:
    """Remember a failure and what was decided; the file is replaced whole, what others wrote into it stays."""
    record = read_json(_path(campaign, run_id)) or {}
    before = record["failures"] if isinstance(record.get("failures"), list) else []
    told = {"key": entry.key, "kind": entry.kind, "signature": entry.signature, "reason": entry.reason}
    told |= {"evidence": evidence, "answer": entry.answer}
    write_json(
        _path(campaign, run_id),
        {**record, "failures": [*before, {**told, "node": entry.node, "time": entry.time}]},
    )


def _path(campaign: Campaign, run_id: str) -> Path:
    return campaign.run(run_id).path / "failures.json"
