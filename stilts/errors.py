"""Errors that are meant for the person at the keyboard."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """One or more problems in what the user gave, all of them at once.

    Each problem is one sentence that says what was given, what is legal and what to do, with file and
    line where there is one. A command prints them without a traceback and exits with code 2.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        assert self.problems, "a UserError without a problem"
        super().__init__("\n".join(self.problems))
