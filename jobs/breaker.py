"""The circuit breaker: when the same error has ended several elements of an array, the job that sees it holds the rest.

No process of the launcher needs to live for that: whoever fails leaves a note beside the submission, and counts.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from jobs.interruption import call
from stilts.failures import CHANCE, signature_of
from stilts.runs import read_json, write_json

TRIPPED = "tripped.json"


def count_failure(submission: Path, run: Path, attempt: str) -> None:
    """Note how an attempt of an array's element failed; at the limit hold the elements that have not begun.

    The limit comes with the job (STILTS_CIRCUIT_BREAKER, 0 for never). The first rank speaks for all.
    """
    limit = int(os.environ.get("STILTS_CIRCUIT_BREAKER", "0"))
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if not limit or not array or os.environ.get("SLURM_PROCID", "0") != "0":
        return
    outcome = read_json(run / "attempts" / attempt / "outcome.json") or {}
    if outcome.get("kind") in CHANCE:
        return
    signature = signature_of(outcome.get("reason", ""))
    notes = submission.parent / "failures" / hashlib.sha256(signature.encode()).hexdigest()[:16]
    notes.mkdir(parents=True, exist_ok=True)
    (notes / run.name).touch()
    count = len(os.listdir(notes))
    if count < limit or (submission.parent / TRIPPED).exists():
        return
    _, refusal = call("scontrol", "uhold", array)
    if refusal and "No error" in refusal:
        refusal = None  # it names the elements that have ended beside those that are held
    told = f"cannot be held: {refusal}" if refusal else "is held"
    print(f"circuit breaker: {count} runs of job {array} failed with '{signature}'; the rest of it {told}")
    record = {"signature": signature, "count": count, "time": time.time(), "job": array, "refusal": refusal}
    write_json(submission.parent / TRIPPED, record)
