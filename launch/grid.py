"""The main door: a YAML grid becomes Slurm job arrays, or runs on this machine.

python launch/grid.py --grid full_matrix.yaml --dry-run     what would happen
python launch/grid.py --grid full_matrix.yaml --check       what would go wrong: data, models, partitions, room
python launch/grid.py --grid full_matrix.yaml --pilot       each stage, task and resource class once, in small
python launch/grid.py --grid full_matrix.yaml               submit; the same command continues the study
python launch/grid.py --grid full_matrix.yaml --watch       stay, and submit the rest as the site's limits let it in
python launch/grid.py --grid full_matrix.yaml --select target=xnli seed=1
python launch/grid.py --grid full_matrix.yaml --prepare-only    fetch and tokenise here, where the network is
python launch/grid.py --grid quickstart.yaml --executor local
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

if __name__ == "__main__":  # as a script, Python puts launch/ first on its path, not the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.options import parse_grid_arguments
from stilts.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def main(argv: list[str] | None = None) -> int:
    """Parse, plan, observe, and act; every problem of the input is printed at once with exit code 2."""
    arguments = parse_grid_arguments(__doc__, argv)
    from rich.console import Console
    from rich.markup import escape

    from launch.commands import run

    errors = Console(stderr=True, highlight=False)
    try:
        return run(arguments, Console(highlight=False))
    except UserError as error:
        for problem in error.problems:
            errors.print(f"[bold red]error:[/bold red] {escape(problem)}", soft_wrap=True)
        return 2
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        errors.print(f"[bold red]error:[/bold red] {escape(f'{where}{error.strerror}')}", soft_wrap=True)
        errors.print("make room (or choose another --root); what is finished is kept, the same command continues")
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted; the same command continues this campaign")
        return 130


if __name__ == "__main__":
    sys.exit(main())
