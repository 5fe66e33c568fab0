"""Every random choice of a training, as a pure function of the seed and of what is chosen."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from the parts' text: the same on every machine and Python, different for every purpose."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A fresh NumPy generator for one purpose, such as (seed, "epoch", task, 3).

    PCG64 by name: `default_rng` may change its algorithm between NumPy versions, and the batches with it.
    """
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))


def torch_generator(*parts: int | str) -> torch.Generator:
    """A fresh CPU generator for one purpose: initial weights do not depend on the device."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def seed_torch(*parts: int | str) -> None:
    """Set torch's global state on CPU and GPU: dropout and fresh transformers models draw from it.

    `torch.manual_seed` would do the same, but notes a stack trace for each kind of device that is not at hand.
    """
    seed = derive_seed(*parts)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
