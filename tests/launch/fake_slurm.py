"""A cluster that says what a test tells it to: programs named squeue, sacct, scancel and scontrol in a folder."""

from __future__ import annotations

from pathlib import Path

PROGRAM = """#!/bin/sh
echo "$0 $*" | /bin/sed 's|.*/||' >> "{folder}/calls"
{do}
/bin/cat "{folder}/{name}.out"
echo "{complaint}" >&2
exit {code}
"""


class FakeSlurm:
    """Put `path` on PATH (alone: the real commands must not be found). Nothing is installed until it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        self.says("squeue")
        self.says("sacct")

    def says(self, name: str, *lines: str, code: int = 0, complaint: str = "", do: str = "") -> None:
        """Install a command: it does `do` (shell), prints `lines` and a complaint, and exits with `code`."""
        (self.folder / f"{name}.out").write_text("".join(f"{line}\n" for line in lines))
        program = self.path / name
        program.write_text(PROGRAM.format(folder=self.folder, name=name, complaint=complaint, code=code, do=do))
        program.chmod(0o755)

    def lacks(self, name: str) -> None:
        """Take a command away."""
        (self.path / name).unlink()

    def calls(self) -> list[str]:
        """The command lines so far."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def called(self) -> list[str]:
        """The names of the commands called so far (of sbatch, that of its script)."""
        return [line.split()[0] for line in self.calls()]


SBATCH = r"""
[ "$1" = --test-only ] && exit 0
for script in "$@"; do :; done
last=$(/bin/sed -n "s/^#SBATCH --array=0-\([0-9]*\).*/\1/p" "$script")
count=$(( ${{last:--1}} + 1 )); [ "$count" -eq 0 ] && count=1
used=$(/bin/grep -c . "{folder}/squeue.out")
if [ "$count" -gt {array} ]; then
    echo "sbatch: error: Batch job submission failed: Invalid job array specification" >&2; exit 1
fi
if [ $(( used + count )) -gt {limit} ]; then
    echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2; exit 1
fi
read id < "{folder}/id"; id=$(( id + 1 )); echo $id > "{folder}/id"
name=$(/bin/sed -n "s/^#SBATCH --job-name=//p" "$script" | /bin/sed "s/^'//; s/'$//")
if [ -z "$last" ]; then
    echo "$id|PENDING|Priority|$name" >> "{folder}/squeue.out"
else
    index=0
    while [ $index -le $last ]; do
        echo "${{id}}_$index|PENDING|Priority|$name" >> "{folder}/squeue.out"; index=$(( index + 1 ))
    done
fi
case "$1" in --parsable) echo $id ;; *) echo "Submitted batch job $id" ;; esac
exit 0
"""


class QueueSlurm(FakeSlurm):
    """A cluster with a queue: what sbatch takes squeue shows, until it is cancelled or `ends`. It takes arrays of
    `array` elements and `limit` of them in all, and says neither."""

    def __init__(self, folder: Path, limit: int = 10**6, array: int = 10**6) -> None:
        super().__init__(folder)
        (folder / "id").write_text("100\n")
        self.takes(limit, array)
        for name in ("srun", "scontrol", "sacctmgr"):
            self.says(name)
        cancel = 'for id in "$@"; do /bin/sed -i "/^$id[|_]/d" "{0}/squeue.out"; done'
        self.says("scancel", do=cancel.format(folder))

    def takes(self, limit: int = 10**6, array: int = 10**6) -> None:
        """Change what it takes."""
        self.says("sbatch", do=SBATCH.format(folder=self.folder, limit=limit, array=array))

    def calls(self) -> list[str]:
        """The command lines so far, without those that only ask what the site would admit."""
        return [line for line in super().calls() if not line.startswith(("sbatch --test-only", "scontrol show part"))]

    def queue(self) -> list[str]:
        """The lines of squeue."""
        return (self.folder / "squeue.out").read_text().splitlines()

    def ends(self, count: int) -> None:
        """Let the first jobs leave the queue."""
        (self.folder / "squeue.out").write_text("".join(f"{line}\n" for line in self.queue()[count:]))
