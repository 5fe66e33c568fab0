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
        """The names of the commands called so far."""
        return [line.split()[0] for line in self.calls()]
