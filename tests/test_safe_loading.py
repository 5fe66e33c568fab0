"""Weights and files come from anywhere, so no code in them ever runs: tensors alone are read, YAML is plain data."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.campaigns import ROOT

ROOMS = ("launch", "jobs", "stilts", "aggregate")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# Calls that are safe only with one of these keywords.
SAFE_WITH = {
    "torch.load": {"weights_only": True},
    "np.load": {"allow_pickle": False},
    "numpy.load": {"allow_pickle": False},
}
MODELS = ("AutoModel", "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM")


def dangers(source: str) -> Iterator[str]:
    """What in a module could run code that a file holds, or hand a text to a shell."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNPICKLERS:
            yield from (f"imports {alias.name}" for alias in node.names if alias.name != "UnpicklingError")
        if isinstance(node, ast.Call):
            yield from _in_call(node)


def _in_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    if name.partition(".")[0] in UNPICKLERS:
        yield f"{name} builds any object"
    given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
    safe = SAFE_WITH.get(name, {})
    if any(given.get(key) is not value for key, value in safe.items()):
        yield f"{name} without {safe}"
    if name in ("eval", "exec", "os.system", "os.popen") or given.get("shell") is True:
        yield f"{name} runs a text"
    if name in ("yaml.load", "yaml.full_load", "yaml.unsafe_load"):
        yield f"{name} builds any object"
    tensors_alone = given.get("use_safetensors") is True or given.get("weights_only") is True
    if name.endswith("from_pretrained") and name.split(".")[0] in MODELS and not tensors_alone:
        yield f"{name} may read a pickle"
    if given.get("trust_remote_code") is True:
        yield f"{name} runs a repository's code"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_what_it_reads(path: Path) -> None:
    assert list(dangers(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(text)",
        "from cloudpickle import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "AutoModel.from_pretrained(path)",
        "AutoTokenizer.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert len(list(dangers(line))) == 1


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_model_that_is_a_pickle_is_not_run(tmp_path: Path, name: str) -> None:
    import torch
    from transformers import BertConfig

    from stilts.model.encoder import load_encoder

    BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8).save_pretrained(tmp_path)
    trace = tmp_path / "run"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(Exception):  # noqa: B017, PT011 (what matters is that nothing was run)
        load_encoder(tmp_path, "eager", None, torch.float32)
    assert not trace.exists()
