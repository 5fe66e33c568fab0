"""What would fail later, found before anything queues: data, models, resource classes, Python, room on the disk."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from launch.campaign import Campaign
from launch.disk import DiskNeed, find_lack
from launch.models import check_model, find_damage
from launch.observation.states import LIVE, Observation
from launch.packs import job_resources
from launch.plan import Plan
from launch.resources import Resources
from launch.sbatch import array_script, outside_of_jobs
from launch.snapshot import SOURCE
from stilts.data.files import find_files, find_texts
from stilts.errors import UserError
from stilts.runs import ENCODER_STAGES, Run
from stilts.tasks.catalogue import MLM

PACKAGES = ("torch", "transformers", "deepspeed", "safetensors", "tokenizers", "pyarrow")
PROBE = (
    "import sys; sys.path.insert(0, {code!r})\n"
    "from importlib.util import find_spec\n"
    "import jobs.run, jobs.stages\n"
    "missing = [name for name in {packages!r} if find_spec(name) is None]\n"
    "sys.exit('has no ' + ', '.join(missing) if missing else 0)"
)
PROBE_TIMEOUT_S = 30.0
CALLS_AT_ONCE = 4
ANSWER_TIMEOUT_S = 20.0
# Words of Slurm that say nothing about a resource class: the same request is admitted at another moment.
_PASSING = re.compile(
    r"temporarily|timed out|unable to contact|MaxSubmitJob|MaxJobs|connection refused|zero bytes|unrecognized option|"
    r"not permitted to use this command|command not found|down or drained|in maintenance|reached",
    re.IGNORECASE,
)


@dataclass
class Preflight:
    """`problems` would make runs fail or wait for ever; `notes` say what could not be checked, `facts` what was."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raises UserError with every problem."""
        if self.problems:
            raise UserError([*self.problems, "nothing was started; correct this, and --check looks again"])

    def show(self, console: Console) -> None:
        """Print what was found. Raises UserError with every problem."""
        for style, word, lines in (("green", "ok", self.facts), ("yellow", "note", self.notes)):
            for line in lines:
                console.print(f"[{style}]{word}:[/{style}] {escape(line)}", soft_wrap=True)
        self.refuse()
        console.print("nothing stands in the way; nothing was submitted")


def check(plan: Plan, campaign: Campaign, runs: Collection[str], need: DiskNeed, slurm: bool) -> Preflight:
    """Look for everything that the start of these `runs` would stumble over; writes nothing.

    `need` is the room that all unfinished runs take. `slurm`: they go to the cluster, whose resource classes are tried
    with one `sbatch --test-only` each.
    """
    report = Preflight()
    chosen = [plan.runs[run_id] for run_id in plan.runs if run_id in set(runs)]
    classes = _classes(plan, chosen) if slurm else {}
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        # Slurm and the probe are waited for while the files are looked at.
        probe = pool.submit(_probe_python, plan if slurm else None)
        tried = {shown: pool.submit(_try_class, plan, one) for shown, one in classes.items()}
        _check_data(chosen, report)
        _check_models(chosen, campaign, report)
        if lack := find_lack(need, campaign.root):
            report.problems.append(lack)
        for shown, answer in tried.items():
            _judge_class(shown, answer.result(), report)
        if classes:
            _check_limits(classes.values(), plan, report)
        problem, note = probe.result()
    report.problems += [problem] if problem else []
    report.notes += [note] if note else []
    return report


def still_to_write(wanted: Iterable[str], observations: Mapping[str, Observation]) -> set[str]:
    """Runs that will need room: those to be started, and those that are at work or in the queue."""
    return {*wanted, *(run_id for run_id, seen in observations.items() if seen.state in LIVE)}


def _check_data(runs: Iterable[Run], report: Preflight) -> None:
    """Original files of every task and language, by the layouts that the fetch jobs read."""
    lost: set[str] = set()
    hub, counted = [], 0
    for run in runs:
        config = run.config
        if run.stage != "fetch" or config["kind"] != "data" or config["suite"] == "toy":
            continue
        if config.get("source") == "hub":
            hub.append(config["task"])
            continue
        root = run.infra.get("data_root")
        if root is None or not Path(root).is_dir():
            lost.add(str(root))
            continue
        try:
            languages = config.get("languages", ())
            if config["task"] == MLM:
                find_texts(languages, Path(root))
            else:
                find_files(config["task"], config["part"], languages, Path(root))
            counted += 1
        except (UserError, OSError) as error:
            report.problems += error.problems if isinstance(error, UserError) else [str(error)]
    report.problems += [f"data_root {root}: no such folder; give the folder of the original files" for root in lost]
    report.facts += [f"data: the files of {counted} sets are there"] if counted else []
    if hub:
        names = ", ".join(dict.fromkeys(hub))
        report.notes.append(f"{names}: come from the hub; whether it has them is seen when they are fetched")


def _check_models(runs: Iterable[Run], campaign: Campaign, report: Preflight) -> None:
    """Models that will be fetched, and the weights of finished encoders from which runs start."""
    chosen = {run.id: run for run in runs}
    parents = {need for run in chosen.values() for need in run.parents if need.startswith(ENCODER_STAGES)}
    for run in chosen.values():
        if run.config.get("kind") == "model":
            problems, note = check_model(dict(run.config), campaign.folder / "commits")
            report.problems += problems
            report.notes += [note] if note else []
    kept = [campaign.run(need) for need in sorted(parents - chosen.keys()) if campaign.run(need).done.exists()]
    for folder in kept:
        for damage in find_damage(folder.model) if folder.model.is_dir() else ():
            report.problems.append(f"{damage}; remove {folder.done} and the same command trains it again")
    models = sum(run.config.get("kind") == "model" for run in chosen.values()) + len(kept)
    report.facts += [f"models: {models} looked at"] if models else []


def _classes(plan: Plan, runs: Iterable[Run]) -> dict[str, Resources]:
    """Each distinct request to Slurm, with words for it."""
    found: dict[str, tuple[Resources, list[str]]] = {}
    for run in runs:
        one = plan.resources(run.id)
        one = job_resources(one, one.pack_size)
        words = f"{one.nodes} node(s), {one.gpus} GPU(s), {one.ranks_per_node} x {one.cpus} cores, {one.mem_gb} GB, "
        words += f"{one.timeout_min} min, partition {one.partition or plan.cluster.partition or '(default)'}"
        words += f", qos {one.qos or plan.cluster.qos}" if one.qos or plan.cluster.qos else ""
        words += f", constraint {one.constraint}" if one.constraint else ""
        found.setdefault(words, (one, []))[1].append(run.stage)
    return {f"{', '.join(dict.fromkeys(stages))} ({words})": one for words, (one, stages) in found.items()}


def _try_class(plan: Plan, resources: Resources) -> tuple[int | None, str]:
    """Exit code and words of `sbatch --test-only` on the very options of a submission; None where it gave no answer.

    Of one run, not of an array: the number of jobs that a user may have says nothing about the class.
    """
    nowhere = Path("/dev/null")
    script = array_script(nowhere, "check", 1, None, resources, plan.cluster, nowhere)
    return _ask(("sbatch", "--test-only"), script)


def _ask(command: tuple[str, ...], script: str = "") -> tuple[int | None, str]:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "check": False}
    try:
        result = subprocess.run(command, input=script, env=outside_of_jobs(), timeout=ANSWER_TIMEOUT_S, **settings)
    except subprocess.TimeoutExpired:
        return None, f"{' '.join(command[:2])} did not answer within {ANSWER_TIMEOUT_S:.0f} s"
    except OSError as error:
        return None, f"{command[0]} cannot be started: {error.strerror}"
    return result.returncode, result.stdout.strip() if command[0] == "scontrol" else result.stderr.strip()


def _judge_class(shown: str, answer: tuple[int | None, str], report: Preflight) -> None:
    code, said = answer
    words = "; ".join(line.strip() for line in said.splitlines() if line.strip())[-500:]
    if code == 0:
        report.facts.append(f"{shown}: {words.removeprefix('sbatch: ') or 'admitted'}")
    elif code is None or _PASSING.search(words):
        report.notes.append(f"{shown}: could not be checked: {words}")
    else:
        report.problems.append(
            f"{shown}: Slurm would refuse it: {words or f'exit code {code}'}; correct the cluster file or the rule "
            "under `resources` in the grid (sinfo and sacctmgr show what the site has)"
        )


def _check_limits(classes: Iterable[Resources], plan: Plan, report: Preflight) -> None:
    """Time limits of partitions: most sites admit a longer job, which then waits for ever (PartitionTimeLimit)."""
    code, said = _ask(("scontrol", "show", "partition", "--oneliner"))
    partitions = {found["PartitionName"]: found for line in said.splitlines() if (found := _parse_facts(line))}
    if code != 0 or not partitions:
        report.notes.append("the time limits of partitions could not be read: scontrol show partition gave none")
        return
    default = next((name for name, facts in partitions.items() if facts.get("Default") == "YES"), "")
    for one in classes:
        names = (one.partition or plan.cluster.partition or default).split(",")
        known = [partitions[name] for name in names if name in partitions]
        limits = [limit for facts in known if (limit := parse_minutes(facts.get("MaxTime", ""))) is not None]
        if known and len(limits) == len(known) and max(limits) < one.timeout_min:
            report.problems.append(
                f"timeout_min {one.timeout_min} is more than partition {','.join(names)} gives ({max(limits):g} min), "
                "and such a job would wait for ever; lower it in the resource rule (an interrupted training goes on), "
                "or name another partition"
            )
        if known and all(facts.get("State", "UP") != "UP" for facts in known):
            report.notes.append(f"partition {','.join(names)} is {known[0]['State']} now; jobs will wait for it")


def _parse_facts(line: str) -> dict[str, str]:
    facts = dict(part.split("=", 1) for part in line.split() if "=" in part)
    return facts if "PartitionName" in facts else {}


def parse_minutes(text: str) -> float | None:
    """Slurm's `days-hours:minutes:seconds` in minutes; None where there is no limit, or it cannot be read."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _probe_python(plan: Plan | None) -> tuple[str | None, str | None]:
    """Whether the job's Python (of the local pool: this one) imports the jobs' code and has the heavy libraries.

    Returns a problem and a note. Its set-up lines are for compute nodes and are not run here.
    """
    python = (plan.cluster.python if plan else None) or shlex.quote(sys.executable)
    probe = PROBE.format(code=str(SOURCE), packages=PACKAGES)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    settings: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "check": False}
    try:
        command = ["bash", "-c", f"{python} -c {shlex.quote(probe)}"]
        result = subprocess.run(command, env=environment, timeout=PROBE_TIMEOUT_S, **settings)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{python}: could not be tried here: {error}"
    if result.returncode == 0:
        return None, None
    words = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    if plan and plan.cluster.setup:
        return None, f"{python}: fails here, without the set-up lines of the cluster file: {words}"
    return f"{python} cannot run the jobs: {words}; install the requirements (README) or correct `python`", None
