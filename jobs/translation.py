"""The translate stage: one shard of one intermediate task's training set in one language."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

from jobs.work import Facts, Work
from stilts.data.fetched import Fetched
from stilts.data.translated import find_family
from stilts.runs import canonical_json, read_json
from stilts.training.stopping import MARGIN_S, Interrupted, Request
from stilts.translation.shards import PART_EXAMPLES, cut_parts, join_parts, take_shard, translate_parts
from stilts.translation.translator import BATCH_TOKENS, Translator


def translate(work: Work) -> tuple[str, Facts]:
    """Translate `config["task"]` into `config["language"]`, part after part; parts of an earlier attempt stand.

    The data folder reads like a fetched one, with the set `train.<language>`. Facts: examples, what became of the
    questions' answers, tokens, seconds over all attempts, tokens a second.
    Raises UserError: a task whose labels do not survive, a language that the model lacks, changed training data.
    """
    if not work.attempt.first:
        return "", {}
    config = work.run.config
    find_family(config["task"])
    origin = _name_origin(work)
    manifest = read_json(work.folder.data / "manifest.json")
    parts_folder = work.folder.path / "parts"
    if manifest is None or manifest.get("origin") != origin:
        manifest = _translate_shard(work, origin)
    shutil.rmtree(parts_folder, ignore_errors=True)
    return str(manifest["digest"]), _report(manifest)


def _translate_shard(work: Work, origin: str) -> dict[str, Any]:
    config, task = work.run.config, work.run.config["task"]
    fetched = Fetched.load(work.parent(f"fetch-{task}-train-").data)
    examples = fetched.read("train.en").examples[: config.get("first_examples")]
    parts = take_shard(cut_parts(examples), config["shard"], config["shards"])
    folder = work.folder.path / "parts" / origin[:16]
    for other in folder.parent.glob("*"):
        if other.name != folder.name:
            shutil.rmtree(other, ignore_errors=True)  # of other parents

    def load() -> Translator:
        # Memory, not the result: the unit that cuts trainings into micro-batches cuts translations into batches too.
        tokens = work.run.infra.get("resources", {}).get("micro_tokens") or BATCH_TOKENS
        model = work.parent("fetch-model-").model
        return Translator(model, config["language"], work.device, config["beams"], config["max_length"], tokens)

    def beat(done: int, total: int) -> None:
        work.heartbeat.beat("translate", done, total)
        request, reason = work.stop.look(MARGIN_S)
        if request is not Request.GO_ON:
            raise Interrupted(reason, request is Request.STOP_AND_RETURN)  # the parts that are written stay

    translate_parts(parts, load, folder, beat)
    about = {
        "suite": config["suite"],
        "task": task,
        "part": "train",
        "language": config["language"],
        "shard": config["shard"],
        "shards": config["shards"],
        "origin": origin,
        "source_examples": sum(map(len, parts)),
    }
    return join_parts(folder, len(parts), work.folder.data, f"train.{config['language']}", about)


def _name_origin(work: Work) -> str:
    """Digest of all that the parts follow from: the run, what its parents made, the size of a part."""
    parents = {name: work.needs[name] for name in work.run.parents}
    identity = [work.run.digest, parents, PART_EXAMPLES]
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def _report(manifest: dict[str, Any]) -> Facts:
    translation = manifest["translation"]
    seconds, usage = translation["seconds"], translation["usage"]
    tokens = usage.get("source_tokens", 0) + usage.get("target_tokens", 0)
    return {
        "examples": manifest["source_examples"],
        "counts": manifest["counts"],
        "answers": translation["answers"],
        **usage,
        "dtypes": translation["dtypes"],
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
    }
