"""Where a run's words are: the log of its newest attempt, and Slurm's own log where no attempt began."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launch.campaign import Campaign
from launch.ledger import Ledger
from launch.observation.attempts import last_attempt

_TAIL_BYTES = 64 * 1024
_POLL_S = 0.5


def find_logs(campaign: Campaign, ledger: Ledger, run_id: str) -> list[Path]:
    """Logs of the newest attempt, the first rank's first, then what Slurm wrote about the job."""
    attempt = last_attempt(campaign.run(run_id))
    ranks = sorted(attempt.glob("rank*.log"), key=lambda path: (len(path.name), path.name)) if attempt else []
    return [*ranks, *find_slurm_logs(ledger, run_id)]


def find_slurm_logs(ledger: Ledger, run_id: str) -> list[Path]:
    """What Slurm and the job's shell wrote in the last submission of a run: also that it was killed, and why."""
    submissions = ledger.of(run_id)
    job = submissions[-1].job_of(run_id) if submissions else None
    if job is None:
        return []
    folder = ledger.folder / submissions[-1].tag
    return sorted(path for path in folder.glob(f"{job}_*log.*") if path.stat().st_size)


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, of progress bars the last state alone; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    told = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "\n".join([printable(line) for line in told if line.strip()][-lines:])


def printable(text: str) -> str:
    """Text without control characters: a log must not move the cursor of whoever reads it."""
    return "".join(
        character if character.isprintable() or character == "\t" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def follow(find: Callable[[], Path | None], ended: Callable[[], bool]) -> Iterator[str]:
    """The whole text of a log as it grows, and that of the next attempt when one begins, until `ended`."""
    path, offset = None, 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while True:
        over = ended()  # asked before the last look, so that nothing written in between is missed
        newest = find()
        if newest != path:
            path, offset = newest, 0
            decoder.reset()
            yield f"==> {path} <==\n" if path else ""
        if path:
            with path.open("rb") as file:
                file.seek(offset)
                text = file.read()
            offset += len(text)
            yield decoder.decode(text)
        if over:
            return
        time.sleep(_POLL_S)


def copy_to_terminal(texts: Iterator[str]) -> None:
    """Write texts as they come; the reader may go away (a pipe into `head`)."""
    try:
        for text in texts:
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
