"""`status.py --watch`: the overview again and again, asked for rarely enough not to burden Slurm."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from launch.scene import Scene
from launch.view.interval import interval_s
from launch.view.overview import Overview, make_overview
from launch.view.tables import plain_lines, render


def watch(look: Callable[[], Scene], console: Console) -> int:
    """Show the campaign until all of it is done; returns 0 then.

    In a terminal the picture is redrawn in place; elsewhere a line is printed when something has changed, without
    control codes. Ctrl-C ends it.
    """
    before: Overview | None = None
    with Live(console=console, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            scene = look()
            overview = make_overview(scene)
            took_s = time.monotonic() - began
            pause_s = interval_s(took_s)
            if console.is_terminal:
                clock = time.strftime("%H:%M:%S", time.localtime(overview.now))
                head = Text(f"{clock}, looks again in {pause_s:.0f} s; Ctrl-C ends this and nothing else", style="dim")
                live.update(Group(head, render(scene.plan.grid.name, overview, scene.notes, console)), refresh=True)
            else:
                for line in plain_lines(overview, before):
                    console.print(line, soft_wrap=True, markup=False)
            before = overview
            if overview.counts["done"] == overview.total:
                return 0
            time.sleep(pause_s)
