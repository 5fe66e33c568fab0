"""Site settings: one YAML file for each cluster, everything about it that is not science."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from launch.failures.policies import FailurePolicies
from launch.resources import Line, ResourceRule
from stilts.document import read_document, unknown, validate
from stilts.errors import UserError
from stilts.settings import Count, Positive, Settings

CLUSTERS = Path(__file__).parent / "clusters"
# Variables are for the compute node's shell; nothing else of it is.
Scratch = Annotated[str, Field(pattern=r"^(?:[^\n\r\x00\"`$\\]|\$\w+|\$\{\w+\})*$")]


class Cluster(Settings):
    """What `launch/clusters/*.yaml` may say; documented examples stand in that folder."""

    name: str
    partition: Line | None = None
    account: Line | None = None
    qos: Line | None = None
    python: Line | None = None
    setup: list[str] = Field(default_factory=list)
    scratch: Scratch | None = None
    sbatch: dict[str, Any] = Field(default_factory=dict)
    srun: list[Line] = Field(default_factory=list)
    array_parallelism: Count = 256
    max_gpus: Count | None = None
    continue_by: Literal["slurm"] | None = Field(None, alias="continue")
    continue_min: Positive = 10.0
    uncertain_s: Positive = 60.0
    signal_delay_s: Count = 120
    kill_on_invalid_dep: bool = True
    gpu_option: Annotated[str, Field(pattern="^(gpus-per-node|gres)$")] = "gpus-per-node"
    tokens_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20_000.0
    resources: list[ResourceRule] = Field(default_factory=list)
    failures: FailurePolicies = Field(default_factory=FailurePolicies)

    @field_validator("sbatch")
    @classmethod
    def _flags_are_plain(cls, flags: dict[str, Any]) -> dict[str, Any]:
        """sbatch flags become `#SBATCH --key=value` lines: no newline may smuggle in another one."""
        for key, value in flags.items():
            if not key.replace("-", "").isalnum():
                raise ValueError(f"flag '{key}' is not a long sbatch option such as exclude or mail-user")
            if key in ("job-name", "array", "dependency", "output", "error", "comment", "chdir", "export"):
                raise ValueError(f"flag '{key}' is set by the launcher; leave it out")
            if isinstance(value, (dict, list)) or any(char in str(value) for char in "\n\r\0"):
                raise ValueError(f"flag '{key}' must be one plain value on one line")
        return flags


def load_cluster(name: str | None) -> Cluster:
    """A cluster by file, by the name of a file in `launch/clusters/`, or `default`.

    Raises UserError with every problem of the file, or with the known names.
    """
    if name is None:
        name = "default"
    path = next((p for p in (Path(name), CLUSTERS / name, CLUSTERS / f"{name}.yaml") if p.is_file()), None)
    if path is None:
        known = sorted(path.stem for path in CLUSTERS.glob("*.yaml"))
        raise UserError(f"--cluster: there is no file '{name}', and {unknown(f'cluster {name!r}', name, known)}")
    document = read_document(path)
    cluster = validate(document, Cluster)
    document.check()
    assert cluster is not None, "a cluster file without problems validates"
    return cluster
