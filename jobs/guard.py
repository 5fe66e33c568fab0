"""The last check before a run starts: every run that it builds on is done, and is the one that it names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stilts.runs import ENCODER_STAGES, Run, RunFolder, is_output_of, read_json


class Blocked(Exception):
    """A run cannot start because of the runs that it needs; the text says which and why."""


def verify_needs(run: Run, root: Path) -> dict[str, str]:
    """Output digest of each needed run, by id.

    A scheduler's word that a parent succeeded is not enough (a script may end with 0 after its step failed, a
    folder may have been deleted since): only DONE counts. Raises Blocked with every missing parent.
    """
    outputs: dict[str, str] = {}
    problems: list[str] = []
    for need in run.needs:
        done = RunFolder(root / need).read_done()
        if done is None:
            problems.append(f"{need} is not done")
        elif need.startswith(ENCODER_STAGES) and not RunFolder(root / need).model.is_dir():
            problems.append(f"the weights of {need} have been removed; the grid's command trains it again")
        elif done["run"] != need or not need.endswith("-" + done["digest"][:8]):
            problems.append(f"{need} holds the result of another run ({done['run']}, digest {done['digest'][:8]})")
        else:
            outputs[need] = done["output"]
    if problems:
        raise Blocked("; ".join(problems))
    return outputs


def already_done(run: Run, folder: RunFolder, needs: dict[str, str]) -> dict[str, Any] | None:
    """The DONE record of this very run on these very parents; None where the work has to be done (again, where an
    encoder's weights have been removed)."""
    done = folder.read_done()
    if run.id.startswith(ENCODER_STAGES) and not folder.model.is_dir():
        return None
    same = done and _is_of(run, done, needs, folder)
    # The folder of original files is not in a run's name; files from another one are read again.
    return done if same and done and done.get("data_root") == run.infra.get("data_root") else None


def find_earlier(run: Run, folder: RunFolder, needs: dict[str, str]) -> list[str]:
    """Outputs that this very run had on these very parents before it was computed again for its removed weights."""
    aside = (read_json(path) for path in sorted(folder.path.glob("superseded/*/DONE.superseded")))
    return [done["output"] for done in aside if done and _is_of(run, done, needs, folder)]


def _is_of(run: Run, done: dict[str, Any], needs: dict[str, str], folder: RunFolder) -> bool:
    """Whether a DONE record tells of this run, built on what its parents are now or were before."""
    if done["digest"] != run.digest or done["needs"].keys() != needs.keys():
        return False
    root = folder.path.parent
    return done["needs"] == needs or all(
        is_output_of(output, RunFolder(root / need).read_done() or {}) for need, output in done["needs"].items()
    )


def trained_before(run: Run, folder: RunFolder, needs: dict[str, str]) -> dict[str, Any] | None:
    """Facts of a training that an earlier attempt finished on these very parents; None where there is none, or where
    its weights have been removed since."""
    if folder.path.is_dir():
        os.listdir(folder.path)  # makes NFS look again: all ranks must decide the same
    record = read_json(folder.trained)
    parents = {name: needs[name] for name in run.parents}
    same = record and record.get("digest") == run.digest and record.get("parents") == parents
    if record and same and folder.model.is_dir():
        return dict(record["facts"])
    return None
