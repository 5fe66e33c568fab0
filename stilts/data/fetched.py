"""A fetched folder: its manifest and its examples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stilts.data.examples import Reading
from stilts.data.readers import read_set
from stilts.errors import UserError
from stilts.runs import canonical_json, file_digest, read_json


@dataclass(frozen=True)
class Fetched:
    """A folder written by `fetch_data`."""

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Fetched:
        """Raises UserError where the folder has no manifest."""
        manifest = read_json(folder / "manifest.json")
        if manifest is None or "sets" not in manifest:
            raise UserError(f"{folder}: no fetched data in it (manifest.json is missing); run its fetch again")
        return cls(folder, manifest)

    @property
    def sets(self) -> tuple[str, ...]:
        return tuple(self.manifest["sets"])

    def read(self, name: str) -> Reading:
        """Examples of a set; UserError where a file has vanished or is not the one that was fetched."""
        entries = self.manifest["sets"][name]
        paths = [self.folder / entry["path"] for entry in entries]  # an absolute path stays itself
        problems = []
        for path, entry in zip(paths, entries, strict=True):
            if not path.is_file():
                problems.append(f"{path}: was fetched for {name} and is gone; put it back or fetch again")
            elif file_digest(path) != entry["sha256"]:
                problems.append(f"{path}: has changed since it was fetched for {name}; put it back or fetch again")
        if problems:
            raise UserError(problems)
        return read_set(self.manifest["task"], name, paths, labelled=self.is_labelled(name))

    def is_labelled(self, name: str) -> bool:
        """False for a set whose labels the release keeps back: it is predicted and never scored."""
        return name not in self.manifest["unlabelled"]


def combine_digests(digests: Mapping[str, Any]) -> str:
    """SHA-256 over all (set, digest or digests)."""
    return hashlib.sha256(canonical_json(dict(digests)).encode()).hexdigest()
