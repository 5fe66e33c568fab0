"""What a grid may say, and the message for each thing that it may not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from launch.axes import setting_keys
from launch.cluster import Cluster, load_cluster
from launch.spec import Grid, find_grid, load_grid
from stilts.document import _inner_model
from stilts.errors import UserError
from tests.launch.small import problems_of, read
from tests.support.campaigns import Study

TEN_MISTAKES = """\
name: ten mistakes
suit: toy
axes:
  model: xlm-roberta-base
  intermediate: [none, mnly]
  target: [xnli, tidyqa]
  regime: multitaks
  seed: [1, true]
  seed: [3]
  intermediate.learning_rat: [1e-5]
intermediate:
  precision: bf17
  epochs: two
  tasks: {squad: {epochs: 2}}
languages: [en, ge]
zip:
  - {target.epochs: [1, 2], target.batch_size: [8]}
resources:
  - match: {stage: tranign}
"""
TEN_ANSWERS = [
    (1, "'name' is 'ten mistakes'", "", ""),
    (2, "unknown key 'suit'", "suite", "suite"),
    (5, "unknown intermediate task 'mnly'", "hellaswag", "mnli"),
    (6, "unknown target 'tidyqa'", "xquad", "tydiqa"),
    (7, "unknown regime 'multitaks'", "sequential", "multitask"),
    (8, "seed True is not a whole number", "", ""),
    (9, "duplicate key 'seed' (first on line 8)", "", ""),
    (10, "unknown axis 'intermediate.learning_rat'", "target.epochs", "intermediate.learning_rate"),
    (12, "unknown 'bf17' for 'precision'", "fp32", "bf16"),
    (13, "'intermediate.epochs' is 'two': input should be a valid integer", "", ""),
    (14, "unknown intermediate task 'squad'", "squad1", ""),
    (15, "unknown language 'ge'", "de", ""),
    (17, "target.epochs has 2, target.batch_size has 1", "", ""),
    (19, "unknown stage 'tranign'", "prepare", "pretrain"),
]


def test_ten_mistakes_get_ten_messages_and_nothing_on_disk(tmp_path: Path) -> None:
    study = Study(tmp_path, {}, options=("--executor", "local"))
    study.path.write_text(TEN_MISTAKES, encoding="utf-8")
    for options in ([], ["--dry-run"], ["--dry-run", "--json"]):
        result = study.launch(*options, check=False)
        assert result.returncode == 2
        assert result.stdout == ""
        messages = result.stderr.splitlines()
        assert len(messages) == len(TEN_ANSWERS) >= 10
        for message, (line, words, legal, near) in zip(messages, TEN_ANSWERS, strict=True):
            assert message.startswith(f"error: {study.path}:{line}: "), message
            assert words in message
            assert not legal or legal in message.split("legal: ")[1]
            assert not near or message.endswith(f"did you mean '{near}'?")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_status_refuses_the_same(tmp_path: Path) -> None:
    study = Study(tmp_path, {})
    study.path.write_text(TEN_MISTAKES, encoding="utf-8")
    command = study.command("launch/status.py", "--grid", str(study.path), "--root", str(study.root))
    result = study.run(command, check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, len(TEN_ANSWERS))
    assert not study.root.exists()


GOOD = """\
name: good
axes:
  model: m
  intermediate: none
  target: xnli
  seed: 1
"""


def test_the_example_is_good() -> None:
    assert problems_of(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        # keys
        ("colour: red", "7: unknown key 'colour'; legal: axes, "),
        ("str: 1", "7: unknown key 'str'; legal: axes, "),
        ("'a[b]': 1", "7: unknown key 'a[b]'; legal: axes, "),
        ("7: 1", "7: unknown key '7'; legal: axes, "),
        ("toy: {sede: 1}", "7: unknown key 'sede'; legal: seed, sizes; did you mean 'seed'?"),
        ("intermediate: {tasks: {mnli: {epoch: 1}}}", "7: unknown key 'epoch'; legal: batch_size, epochs, "),
        ("intermediate: {sampling: {caps: 1}}", "7: unknown key 'caps'; legal: cap, rule, "),
        (
            "intermediate: {sampling: {temperature: 2}}",
            "7: 'intermediate.sampling' is {'temperature': 2}: temperature 2 belongs to rule: temperature",
        ),
        (
            "intermediate: {sampling: {rule: weights}}",
            "7: 'intermediate.sampling' is {'rule': 'weights'}: rule: weights and weights, one for each task ",
        ),
        ("intermediate: {sampling: {rule: even}}", "7: unknown 'even' for 'rule'; legal: proportional, temperature, "),
        ("intermediate: {sampling: {rule: weights, weights: {mnly: 1}}}", "7: unknown intermediate task 'mnly'"),
        ("resources: [{match: {tasks: mnli}}]", "7: unknown key 'tasks'; legal: stage, task; did you mean 'task'?"),
        # names
        ("suite: xtrem", "7: unknown 'xtrem' for 'suite'; legal: toy, xtreme; did you mean 'xtreme'?"),
        ("target: {tasks: {xquad: {epochs: 1}}}", "7: unknown target training 'xquad'; legal: panx, pawsx, squad, "),
        ("languages: [english]", "7: unknown language 'english'; legal: af, ar, "),
        ("pretrain: {text: [mnly]}", "7: unknown text source 'mnly' for suite xtreme; legal: anli, "),
        ("pretrain: {text: [text]}", "7: unknown text source 'text' for suite xtreme; legal: anli, "),
        ("toy: {sizes: {trian: 1}}", "7: unknown split 'trian'; legal: dev, test, train; did you mean 'train'?"),
        ("resources: [{match: {task: mnly}}]", "7: 'resources.0.match.task' is 'mnly': unknown task 'mnly'; legal: "),
        ("zip: [{sed: [2]}]", "7: unknown axis 'sed'; legal: "),
        ("include: [{target: nli}]", "7: unknown target 'nli' for suite xtreme; legal: all, "),
        ("exclude: [{intermediate: [[mnli, squad]]}]", "7: unknown intermediate task 'squad' for suite xtreme"),
        ("include: [{target.precision: fp64}]", "7: unknown 'fp64' for 'precision'; legal: bf16, fp16, fp32"),
        ("include: [{pretrain.text: [[mnly]]}]", "7: unknown text source 'mnly' for suite xtreme"),
        # wrong types: YAML's types are strict
        ("axes2: {}\naxes: {}", "8: duplicate key 'axes' (first on line 2)"),
        ("languages: en", "7: 'languages' is 'en': give a list of languages, or for single targets a list each"),
        ("languages: [1]", "7: 'languages.all.0' is 1: input should be a valid string"),
        ("languages: {xnli: [de, english]}", "7: unknown language 'english'; legal: af, ar, "),
        ("languages: {xnil: [de]}", "7: unknown target 'xnil'; legal: all, "),
        ("hub: [xnil]", "7: unknown task 'xnil'; legal: all, "),
        ("data_root: 3", "7: 'data_root' is 3: input should be a valid string"),
        ('data_root: "a\\0b"', "7: 'data_root' is 'a\\x00b': "),
        ("zip: {seed: [1]}", "7: 'zip' is {'seed': [1]}: input should be a valid list"),
        ("zip: [{target.epochs: 3}]", "7: 'zip.0.target.epochs' is 3: input should be a valid list"),
        ("include: all", "7: 'include' is 'all': input should be a valid list"),
        ("exclude: [xnli]", "7: 'exclude.0' is 'xnli': input should be a valid dictionary"),
        ("toy: [1]", "7: 'toy' is [1]: input should be a valid dictionary"),
        ("intermediate: fp32", "7: 'intermediate' is 'fp32': input should be a valid dictionary"),
        ("intermediate: {tasks: [mnli]}", "7: 'intermediate.tasks' is ['mnli']: input should be a valid dictionary"),
        ("intermediate: {learning_rate: '1e-5'}", "7: 'intermediate.learning_rate' is '1e-5': input should be a valid"),
        (
            "intermediate: {warmup_ratio: true}",
            "7: 'intermediate.warmup_ratio' is True: input should be a valid number",
        ),
        ("intermediate: {shuffle_labels: 1}", "7: 'intermediate.shuffle_labels' is 1: input should be a valid boolean"),
        (
            "intermediate: {shuffle_labels: no}",
            "7: 'intermediate.shuffle_labels' is 'no': input should be a valid bool",
        ),
        ("intermediate: {epochs: 2.0}", "7: 'intermediate.epochs' is 2.0: input should be a valid integer"),
        ("intermediate: {epochs: true}", "7: 'intermediate.epochs' is True: input should be a valid integer"),
        ("resources: [{match: {stage: 3}}]", "7: 'resources.0.match.stage' is 3: input should be a valid list"),
        ("resources: [{cpus: '4'}]", "7: 'resources.0.cpus' is '4': input should be a valid integer"),
        # values out of range
        ("intermediate: {learning_rate: 0}", "7: 'intermediate.learning_rate' is 0: input should be greater than 0"),
        ("intermediate: {learning_rate: .nan}", "7: 'intermediate.learning_rate' is nan: input should be "),
        (
            "intermediate: {weight_decay: .inf}",
            "7: 'intermediate.weight_decay' is inf: input should be a finite number",
        ),
        ("intermediate: {epochs: 0}", "7: 'intermediate.epochs' is 0: input should be greater than or equal to 1"),
        ("intermediate: {max_length: 15}", "7: 'intermediate.max_length' is 15: input should be greater than or eq"),
        ("retrieval: {layer: -1}", "7: 'retrieval.layer' is -1: input should be greater than or equal to 0"),
        ("resources: [{zero_stage: 4}]", "7: 'resources.0.zero_stage' is 4: input should be less than or equal to 3"),
        # contradictions
        ("zip: [{seed: [2]}]", "7: axis 'seed' stands elsewhere in this grid too; keep one"),
        (
            "zip: [{target.epochs: [1, 2], target.dropout: [0.1]}]",
            "7: a zip group runs in step, but target.epochs has 2",
        ),
        ("zip: [{target.epochs: [1]}, {target.epochs: [2]}]", "7: axis 'target.epochs' stands elsewhere in this grid"),
        ("zip: [{target.epochs: []}]", "7: axis 'target.epochs' is empty; give at least one value"),
    ],
)
def test_one_mistake_gives_its_own_message(wrong: str, problem: str) -> None:
    found = problems_of(GOOD + wrong + "\n")
    assert [line for line in found if line.startswith(problem)], found
    assert len(found) <= 3


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ("seed: true", "6: seed True is not a whole number from 0 to 2147483647"),
        ("seed: -1", "6: seed -1 is not a whole number from 0"),
        ("seed: 2147483648", "6: seed 2147483648 is not a whole number"),
        ("seed: 1.0", "6: seed 1.0 is not a whole number"),
        ("seed: '1'", "6: seed '1' is not a whole number"),
        ("seed: null", "6: seed None is not a whole number"),
        ("seed: {a: 1}", "6: seed {'a': 1} is not a whole number"),
        ("seed: []", "6: axis 'seed' is empty; give at least one value"),
        ("seed: [1, 2, 1]", "6: axis 'seed' gives 1 2 times; give it once"),
        ("seed: [1, [2]]", "6: seed [2] is not a whole number"),
        ("model: ''", "6: model '' is not a name or a path"),
        ("model: 3", "6: model 3 is not a name or a path"),
        ("model: [[a]]", "6: model ['a'] is not a name or a path"),
        ("regime: [both]", "6: unknown regime 'both'; legal: multitask, sequential"),
        ("regime: {a: 1}", "6: unknown regime '{'a': 1}'; legal: multitask, sequential"),
        ("target: squad", "6: unknown target 'squad' for suite xtreme; legal: all, bucc2018, "),
        ("target: [[xnli]]", "6: unknown target '['xnli']' for suite xtreme; legal: "),
        ("intermediate: [[]]", "6: an empty list of intermediate tasks; write none for the baseline"),
        ("intermediate: null", "6: unknown intermediate task 'None' for suite xtreme; legal: "),
        ("intermediate: [[mnli, mnli]]", "6: intermediate set ['mnli', 'mnli'] names a task twice"),
        ("intermediate: [[none, mnli]]", "6: unknown intermediate task 'none' for suite xtreme; legal: "),
        ("intermediate: [[[mnli]]]", "6: unknown intermediate task '['mnli']'"),
        ("intermediate: [{mnli: 1}]", "6: unknown intermediate task '{'mnli': 1}'"),
        ("intermediate.tasks: [{mnli: {epochs: 1}}]", "6: unknown axis 'intermediate.tasks'; legal: "),
        ("intermediate.precision: [fp8]", "6: unknown 'fp8' for 'precision'; legal: bf16, fp16, fp32"),
        ("intermediate.sampling.cap: [0]", "6: 'sampling.cap' is 0: input should be greater than or equal to 1"),
        ("target.learning_rate: ['1e-5']", "6: 'learning_rate' is '1e-5': input should be a valid number"),
        ("toy.seed: [1]", "6: unknown axis 'toy.seed'; legal: "),
        ("resources: [1]", "6: unknown axis 'resources'; legal: "),
        ("1: [1]", "6: unknown axis '1'; legal: "),
    ],
)
def test_one_wrong_axis_gives_its_own_message(axis: str, problem: str) -> None:
    others = [line for line in GOOD.splitlines()[2:] if not line.startswith(f"  {axis.split(':')[0]}:")]
    filler = [""] * (4 - len(others))
    found = problems_of("\n".join(["name: good", *filler[:-1], "axes:", *others, f"  {axis}", ""]))
    expected = [re.sub(r"^6", str(len(others) + len(filler[:-1]) + 3), problem)]
    assert [line[: len(expected[0])] for line in found] == expected


@pytest.mark.parametrize("missing", ["model", "intermediate", "target", "seed"])
def test_each_needed_axis_is_asked_for(missing: str) -> None:
    text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(f"  {missing}:"))
    (problem,) = problems_of(text)
    assert problem.startswith(f"2: axis '{missing}' is missing; give its values, for example {missing}: ")


def test_a_needed_axis_may_stand_in_a_zip_group() -> None:
    text = GOOD.replace("  intermediate: none\n", "").replace("  seed: 1\n", "")
    assert problems_of(text + "zip: [{intermediate: [none, mnli], seed: [1, 2]}]\n") == []


def test_an_empty_grid_is_told_what_it_lacks() -> None:
    assert problems_of("") == [
        "1: key 'name' is missing; it is required here",
        "1: key 'axes' is missing; it is required here",
    ]


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/b", "..", ".hidden", "", "a b", "a\n", "a\\b", "é", "-x", "x" * 65, "${HOME}"]
)
def test_a_name_cannot_leave_the_campaign_folder(name: str) -> None:
    (problem,) = problems_of(GOOD.replace("name: good", f"name: {name!r}".replace("\\n", "\n\n")))
    assert problem.startswith("1: 'name' is ")


def test_huge_lists_are_checked_quickly_enough_to_be_told() -> None:
    """Ten thousand values, of which some are wrong or doubled: all of them are told, and it ends."""
    seeds = [*range(10_000), 5, 6, -1]
    found = problems_of(GOOD.replace("seed: 1", f"seed: {seeds}"))
    assert len(found) == 3
    assert len(read(GOOD.replace("seed: 1", f"seed: {[*range(50_000)]}")).axes["seed"]) == 50_000


def test_paths_are_relative_to_the_grid_and_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job starts in another folder than the launcher: a relative path in its specification would be lost."""
    folder = tmp_path / "grids"
    folder.mkdir()
    path = folder / "g.yaml"
    text = GOOD.replace("model: m", "model: [m, org/m, ./mine, ../other, ~/home, /abs]") + "data_root: ../data\n"
    path.write_text(text + "include: [{model: ./third}]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    for given in (path, Path("grids/g.yaml")):
        grid = load_grid(given)
        models = ["m", "org/m", f"{folder}/mine", f"{tmp_path}/other", "/home/somebody/home", "/abs"]
        assert grid.axes["model"] == models
        assert grid.data_root == str(tmp_path / "data")
        assert grid.include == [{"model": [f"{folder}/third"]}]


def test_an_unknown_home_is_no_crash() -> None:
    assert problems_of(GOOD + "data_root: ~nobody-has-this-name/data\n") == []


@pytest.mark.parametrize("name", ["full_matrix", "full_matrix.yaml", "quickstart", "quickstart.yaml"])
def test_a_grid_is_found_by_name(name: str) -> None:
    assert find_grid(name).stem == name.removesuffix(".yaml")


@pytest.mark.parametrize("name", ["quikstart", "x" * 5000, "a\0b", "", "."])
def test_an_unknown_grid_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"legal: full_matrix.yaml, quickstart.yaml"):
        find_grid(name)


def test_an_unknown_cluster_is_told_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"legal: default, gpu-example, test; did you mean 'test'\?"):
        load_cluster("tset")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: x\npartion: p\n", "2: unknown key 'partion'; legal: account, "),
        ("name: x\nsbatch: {array: 1-3}\n", "2: 'sbatch' is {'array': '1-3'}: flag 'array' is set by the launcher"),
        ("name: x\nsbatch: {'x y': 1}\n", "2: 'sbatch' is {'x y': 1}: flag 'x y' is not a long sbatch option"),
        ('name: x\nsbatch: {mail-type: "A\\n#SBATCH --uid=0"}\n', "2: 'sbatch' is "),
        ('name: x\npartition: "a\\nb"\n', "2: 'partition' is 'a\\nb': "),
        ("name: x\ngpu_option: gpus\n", "2: 'gpu_option' is 'gpus': "),
        ("name: x\nkill_on_invalid_dep: 1\n", "2: 'kill_on_invalid_dep' is 1: input should be a valid boolean"),
        ("name: x\narray_parallelism: 0\n", "2: 'array_parallelism' is 0: "),
        ("name: x\nresources: [{match: {task: [mnly, nothing]}}]\n", "2: 'resources.0.match.task' is ['mnly', "),
        ("partition: p\n", "1: key 'name' is missing; it is required here"),
    ],
)
def test_a_cluster_file_is_checked_too(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load_cluster(str(path))
    assert str(refused.value).startswith(f"{path}:{problem}")


# Every key that a grid or cluster file may hold. A new one is a promise to users: list it here on purpose.
TRAINING = """learning_rate batch_size epochs max_length warmup_ratio weight_decay adam_beta2 adam_eps max_grad_norm
    precision attention dropout max_examples shuffle_labels tasks sampling selection updates replay collapse restarts
    deepspeed"""
PERMITTED = {
    "Grid": """name suite data_root hub revisions languages axes scale zip include exclude toy pretrain mlm translation
        intermediate target retrieval resources keep report_to""",
    "Scale": "counts draws orders seed tasks regimes budget",
    "FixedSteps": "fixed_steps",
    "ToySettings": "seed sizes",
    "PretrainSettings": """text seed tokenizer vocabulary layers hidden heads feed_forward positions dropout steps
        batch_size learning_rate mask_probability warmup_ratio weight_decay adam_beta2 adam_eps max_grad_norm
        precision""",
    "TrainingSettings": TRAINING,
    "TaskSettings": "learning_rate batch_size epochs max_length",
    "Sampling": "rule cap temperature weights",
    "Selection": "points examples",
    "MlmSettings": "languages sentences exponent seed batch_size epochs max_length mask_probability rate_factor",
    "TranslationSettings": "languages model shards beams max_length",
    "RetrievalSettings": "layer sweep max_length",
    "ResourceRule": """match nodes gpus ranks cpus mem_gb timeout_min partition qos constraint micro_tokens
        zero_stage activation_checkpointing cuda_graphs checkpoint_min pack at_once runs_per_gpu""",
    "Match": "stage task",
    "Cluster": """name partition account qos python setup scratch sbatch srun array_parallelism signal_delay_s
        max_gpus continue_by continue_min uncertain_s
        kill_on_invalid_dep gpu_option tokens_per_second resources failures""",
    "FailurePolicies": """host_oom gpu_oom timeout node_failure nccl disk_full data code unknown circuit_breaker""",
    "Policy": "action attempts factor cap",
}


def test_the_permitted_keys() -> None:
    assert _keys_below(Grid) | _keys_below(Cluster) == {name: set(keys.split()) for name, keys in PERMITTED.items()}


def _keys_below(model: type[BaseModel]) -> dict[str, set[str]]:
    found = {model.__name__: set(model.model_fields)}
    for field in model.model_fields.values():
        inner: Any = _inner_model(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= _keys_below(inner)
        else:
            assert not [part for part in get_args(inner) if hasattr(part, "model_fields")]
    return found


def test_the_permitted_axes() -> None:
    no_axes = ("tasks", "sampling", "selection", "deepspeed", "restarts")
    training = [key for key in TRAINING.split() if key not in no_axes] + ["selection.points", "selection.examples"]
    groups = {
        "pretrain": PERMITTED["PretrainSettings"].split(),
        "mlm": PERMITTED["MlmSettings"].split(),
        "translation": ["languages", "model", "beams", "max_length"],
        "intermediate": [*training, "sampling.cap"],
        "target": [key for key in training if key != "replay"],
        "retrieval": ["layer", "max_length"],
    }
    assert set(setting_keys()) == {f"{group}.{key}" for group, keys in groups.items() for key in keys}
