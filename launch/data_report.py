"""What data a campaign stands on: every set with source, licence, counts and checksum, from the fetched manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from launch.campaign import Campaign
from launch.plan import Plan
from stilts.data.hub_sets import KNOWN_DIFFERENCES
from stilts.data.releases import RELEASES, known_sizes
from stilts.runs import read_json, write_json, write_text

ABSENT = "no file"


@dataclass(frozen=True)
class SetReport:
    """One set of one task. `expected` is None where no count of the release is known, `found` where it has no file."""

    task: str
    set: str
    expected: int | None
    found: int | None
    skipped: int
    labelled: bool
    source: str
    licence: str
    sha256: str

    @property
    def from_hub(self) -> bool:
        """Whether it was brought from the hub: the source then names a commit."""
        return "@" in self.source and not self.source.startswith("/")

    @property
    def differs(self) -> bool:
        """Whether the count is not that of the release."""
        return None not in (self.expected, self.found) and self.expected != self.found


def list_sets(plan: Plan, campaign: Campaign) -> list[SetReport]:
    """Every set that the plan's finished fetch runs have found or brought (none for the made-up languages)."""
    reports: list[SetReport] = []
    for run in plan.runs.values():
        if run.stage == "fetch" and run.config.get("suite") == "xtreme" and campaign.run(run.id).done.exists():
            manifest = read_json(campaign.run(run.id).data / "manifest.json")
            reports += _read_manifest(manifest) if manifest else ()
    return reports


def _read_manifest(manifest: dict[str, Any]) -> Iterator[SetReport]:
    task = manifest["task"]
    hub: dict[str, list[str]] = {}
    for source in manifest["sources"]:
        hub.setdefault(source["set"], []).append(f"{source['repo']}@{source['commit']}")
    for name, files in manifest["sets"].items():
        counts = manifest["counts"][name]
        yield SetReport(
            task=task,
            set=name,
            expected=known_sizes().get((task, name)),
            found=counts["examples"],
            skipped=counts["skipped"],
            labelled=name not in manifest["unlabelled"],
            source=", ".join(dict.fromkeys(hub.get(name) or (file["path"] for file in files))),
            licence=RELEASES[task].licence if task in RELEASES else "",
            sha256=_join_digests([file["sha256"] for file in files]),
        )
    for name in manifest["absent"]:
        yield _report_absent(task, name)


def _report_absent(task: str, name: str) -> SetReport:
    licence = RELEASES[task].licence if task in RELEASES else ""
    return SetReport(task, name, known_sizes().get((task, name)), None, 0, False, ABSENT, licence, "")


def _join_digests(digests: list[str]) -> str:
    """The file's own SHA-256; of several files the SHA-256 over theirs, in order, one a line."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def write_report(plan: Plan, campaign: Campaign) -> list[SetReport]:
    """Write `campaign/data.json` and `campaign/data.md`; nothing where no set was fetched yet."""
    reports = list_sets(plan, campaign)
    if not reports:
        return reports
    rows = [asdict(report) for report in reports]
    write_json(campaign.folder / "data.json", {"sets": rows})
    homes = [f"- {task}: {RELEASES[task].home}. Licence: {RELEASES[task].licence}." for task in _tasks(reports)]
    notes = [f"- {task}: {note}" for task in _hub_tasks(reports) for note in KNOWN_DIFFERENCES.get(task, ())]
    parts = [
        "# Data of this campaign",
        tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True),
        "## Releases and licences",
        "\n".join(homes),
    ]
    if notes:
        parts += ["## Known differences between hub sets and original releases", "\n".join(notes)]
    write_text(campaign.folder / "data.md", "\n\n".join(parts) + "\n")
    return reports


def _tasks(reports: list[SetReport]) -> list[str]:
    return [task for task in dict.fromkeys(report.task for report in reports) if task in RELEASES]


def _hub_tasks(reports: list[SetReport]) -> list[str]:
    return list(dict.fromkeys(report.task for report in reports if report.from_hub))


def summary_table(reports: list[SetReport]) -> Table:
    """One line a task for a terminal."""
    table = Table("task", "sets", "examples", "as released", "left out", "unlabelled", "absent", "source", box=None)
    for task in dict.fromkeys(report.task for report in reports):
        whole = [report for report in reports if report.task == task]
        mine = [report for report in whole if report.found is not None]
        differ = sum(report.differs for report in mine)
        table.add_row(
            task,
            str(len(mine)),
            f"{sum(report.found or 0 for report in mine):,}",
            Text(f"{differ} differ", style="yellow") if differ else "yes",
            str(sum(report.skipped for report in mine) or ""),
            str(sum(not report.labelled for report in mine) or ""),
            str(len(whole) - len(mine) or ""),
            "hub" if mine[0].from_hub else "files",
        )
    return table


def list_lines(reports: list[SetReport]) -> str:
    """One line a set, as plain text."""
    rows = [
        (
            r.task,
            r.set,
            r.found,
            r.expected,
            r.skipped or None,
            None if r.labelled or r.found is None else "no",
            r.sha256[:12],
            r.source,
        )
        for r in reports
    ]
    headers = ("task", "set", "examples", "released", "left out", "labelled", "sha256", "source")
    return tabulate(rows, headers=headers, tablefmt="plain", intfmt=",")


def count_note(reports: list[SetReport]) -> str | None:
    """One line where sets have other counts than the releases; None where all have theirs."""
    other = [report for report in reports if report.differs]
    if not other:
        return None
    return (
        f"{len(other)} of {len(reports)} data sets have other counts than their releases (for example {other[0].task} "
        f"{other[0].set}: {other[0].found:,} instead of {other[0].expected:,}); status.py --data lists them"
    )
