"""Text for masked language modelling: sentences, languages' quotas, what is drawn, from files, the hub and the toy."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.examples import Text
from stilts.data.fetch import fetch_data
from stilts.data.fetched import Fetched
from stilts.data.hub_sets import KNOWN_DIFFERENCES
from stilts.data.prepare import prepare
from stilts.data.prepared import Prepared
from stilts.data.quotas import draw, share_out, weigh_languages
from stilts.data.sentences import SHORTEST_LETTERS, split_sentences
from stilts.errors import UserError
from tests.stilts.slices import make_character_tokenizer
from tests.support.hub_repositories import TEXT, to_parquet
from tests.support.hub_server import HubServer, use_hub
from tests.support.slices_root import MLM_LANGUAGES, write_texts

WIKIPEDIA = "wikimedia/wikipedia"
KEYS = ("digest", "languages", "sources")
ARTICLE = {"id": TEXT, "url": TEXT, "title": TEXT, "text": TEXT}


def config(languages: list[str], sentences: int, suite: str = "xtreme", **more: Any) -> dict[str, Any]:
    return {
        "kind": "data",
        "suite": suite,
        "task": "mlm",
        "part": "train",
        "languages": languages,
        "sentences": sentences,
        "exponent": 0.3,
        "seed": 0,
    } | more


def rows_of(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "train.mul.tsv").read_text(encoding="utf-8").splitlines()
    return [(fields[0], fields[1], fields[2]) for fields in (line.split("\t") for line in lines)]


def drawn_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {source["language"]: source["sentences"] for source in manifest["languages"]}


# Sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The first one is here. Is it really so? Yes, it really is!", 3),
        ("No! No, that is not what she said. Oh.", 1),
        ("A line without end mark\nanother one after a break", 2),
        ("Professor J. Smith of the U. S. met her on 14. Juli and z. B. in Bonn.", 1),
        ("It grew by 3.14 percent in the year 1990. Then it fell again slowly.", 2),
        ("他说他明天会来到这里看看大家。你们觉得他真的会来这里吗？我们都不知道他会不会来！", 3),
        ("彼は「明日は必ずここに来ます。」と言ったのでした。それから家に帰ったのです。", 2),
        ("هذا هو السؤال الأول هنا؟ وهذه هي الجملة الثانية.", 2),
        ("یہ پہلا جملہ ہے جو یہاں ہے۔ یہ دوسرا جملہ ہے جو وہاں ہے۔", 2),
        ("यह पहला वाक्य है जो यहाँ लिखा है। यह दूसरा वाक्य है जो वहाँ लिखा है।", 2),
        ('He said: "This is the end of it." Then he went away.', 2),
        ("ประเทศไทยมีประชากรมาก และมีภูเขาหลายแห่ง", 1),
        ("References\nSee also\n\n12\t34\t56", 1),
    ],
)
def test_sentences_end_at_breaks_and_marks(text: str, sentences: int) -> None:
    assert len(list(split_sentences(text))) == sentences


@given(st.lists(st.text("ab. !?。”1जा।\t\u2028", max_size=60), max_size=4))
def test_nothing_is_lost_but_short_lines(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = list(split_sentences(text))
    for sentence in found:
        assert sentence == " ".join(sentence.split())
        assert sum(map(str.isalpha, sentence)) >= SHORTEST_LETTERS
    kept = [line for line in text.splitlines() if sum(map(str.isalpha, line)) >= SHORTEST_LETTERS]
    assert "".join("".join(found).split()) == "".join("".join(kept).split())


# Quotas


def test_shares_are_those_of_the_paper() -> None:
    """Conneau & Lample 2019: p_l to the power of 0.3, normalised; computed by hand for 0.9 and 0.1."""
    shares = weigh_languages({"en": 900, "sw": 100}, 0.3)
    assert shares["en"] == pytest.approx(0.9**0.3 / (0.9**0.3 + 0.1**0.3)) == pytest.approx(0.6591, abs=1e-4)
    assert weigh_languages({"en": 900, "sw": 100}, 1.0) == pytest.approx({"en": 0.9, "sw": 0.1})
    assert weigh_languages({"en": 900, "sw": 100}, 0.0) == pytest.approx({"en": 0.5, "sw": 0.5})


def pour(shares: Mapping[str, float], wanted: int, limits: Mapping[str, int]) -> dict[str, float]:
    """The obvious twin of `share_out` without rounding: pour a little into all that are not full, again and again."""
    held, rest = dict.fromkeys(shares, 0.0), float(wanted)
    while rest > 1e-9:
        free = [name for name in shares if held[name] < limits.get(name, 10**9) - 1e-9]
        if not free:
            break
        total = sum(shares[name] for name in free)
        most = min((limits.get(name, 10**9) - held[name]) / shares[name] for name in free)
        step = min(rest / total, most)
        for name in free:
            held[name] += step * shares[name]
        rest -= step * total
    return held


@given(
    sizes=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**6), min_size=1),
    exponent=st.floats(0, 1),
    wanted=st.integers(1, 5000),
    limits=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 2000)),
)
def test_quotas_add_up_within_the_limits(
    sizes: dict[str, int], exponent: float, wanted: int, limits: dict[str, int]
) -> None:
    shares = weigh_languages(sizes, exponent)
    limits = {name: limit for name, limit in limits.items() if name in sizes}
    quotas = share_out(shares, wanted, limits)
    assert list(quotas) == list(sizes)
    everything = sum(limits.values()) if limits.keys() == sizes.keys() else wanted
    assert sum(quotas.values()) == min(wanted, everything)
    assert all(0 <= quotas[name] <= limits.get(name, wanted) for name in sizes)
    for name, number in pour(shares, wanted, limits).items():
        assert abs(quotas[name] - number) < 1 + 1e-6


def test_what_one_language_lacks_comes_from_the_others() -> None:
    shares = {"en": 0.5, "de": 0.3, "sw": 0.2}
    assert share_out(shares, 100, {}) == {"en": 50, "de": 30, "sw": 20}
    assert share_out(shares, 100, {"sw": 4}) == {"en": 60, "de": 36, "sw": 4}
    assert share_out(shares, 100, {"sw": 4, "de": 30}) == {"en": 66, "de": 30, "sw": 4}
    assert share_out(shares, 100, {"sw": 4, "de": 30, "en": 5}) == {"en": 5, "de": 30, "sw": 4}


# Drawing


def test_every_choice_is_as_likely() -> None:
    counts = Counter(tuple(draw("abcd", 4, 2, seed)) for seed in range(6000))
    assert len(counts) == 6
    assert all(850 < count < 1150 for count in counts.values())


def test_a_draw_depends_on_its_purpose_alone() -> None:
    first = list(draw(range(1000), 1000, 100, 0, "mlm", "de"))
    assert first == list(draw(range(1000), 1000, 100, 0, "mlm", "de")) == sorted(first)
    assert len(set(first)) == 100 != set(first) & set(draw(range(1000), 1000, 100, 0, "mlm", "fr"))
    assert first != list(draw(range(1000), 1000, 100, 1, "mlm", "de"))
    # The same on every machine and Python, for the same corpus must come out everywhere.
    assert list(draw(range(20), 20, 5, 0, "mlm", "de")) == [4, 6, 8, 14, 18]
    assert list(draw(range(5), 5, 5, 0)) == [0, 1, 2, 3, 4] and list(draw(range(5), 5, 0, 0)) == []


# Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three languages in three layouts: 400, 40 and 8 sentences, with blank lines, tabs and odd line ends."""
    folder = tmp_path / "root"
    (folder / "mlm/fr").mkdir(parents=True)
    (folder / "mlm/de.txt").write_text("".join(f"Satz Nummer {i}.\n\n" for i in range(400)), encoding="utf-8")
    french = "".join(
        f"\ufeff  Phrase\tnuméro\u2028{i}.\r\n" if i == 0 else f"Phrase numéro {i}.\r\n" for i in range(40)
    )
    (folder / "mlm/fr/train.txt").write_bytes(french.encode())
    with gzip.open(folder / "mlm/sw.txt.gz", "wt", encoding="utf-8") as file:
        file.write("".join(f"Sentensi ya {i}.\n" for i in range(8)))
    return folder


def test_quotas_of_files(root: Path, tmp_path: Path) -> None:
    languages = ["de", "fr", "sw"]
    manifest = fetch_data(config(languages, 60), root, tmp_path / "data")
    shares = weigh_languages({"de": 400, "fr": 40, "sw": 8}, 0.3)
    quotas = share_out(shares, 60, {"de": 400, "fr": 40, "sw": 8})
    assert quotas["sw"] == 8 < 60 * shares["sw"]  # all it has, once; the others give more
    assert drawn_of(manifest) == quotas
    rows = rows_of(tmp_path / "data")
    assert Counter(language for language, _, _ in rows) == quotas
    assert len(set(rows)) == 60 and all(second == "" for _, _, second in rows)
    assert {text for language, text, _ in rows if language == "sw"} == {f"Sentensi ya {i}." for i in range(8)}
    assert {text for language, text, _ in rows if language == "fr"} <= {f"Phrase numéro {i}." for i in range(40)}
    assert manifest["counts"] == {"train.mul": {"examples": 60, "skipped": 0}} and manifest["sources"] == []
    first = manifest["languages"][0]
    assert (first["size"], first["unit"], first["available"]) == (400, "sentences", 400)
    assert first["share"] == pytest.approx(shares["de"], abs=1e-6)
    path = root / "mlm/de.txt"
    assert first["files"] == [{"path": str(path), "bytes": path.stat().st_size}]
    assert json.loads((tmp_path / "data/manifest.json").read_text()) == manifest
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["manifest.json", "train.mul.tsv"]


def test_fewer_sentences_than_wanted_are_all_of_them(root: Path, tmp_path: Path) -> None:
    manifest = fetch_data(config(["de", "fr", "sw"], 10_000), root, tmp_path / "data")
    assert drawn_of(manifest) == {"de": 400, "fr": 40, "sw": 8}
    texts = [text for _, text, _ in rows_of(tmp_path / "data")]
    assert texts[400] == "Phrase numéro 0."
    assert texts[:400] == [f"Satz Nummer {i}." for i in range(400)]


def test_the_same_again_and_another_with_another_seed(root: Path, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {}, {"seed": 1}, {"exponent": 1.0}]
    digests = [
        fetch_data(config(["de", "fr"], 50, **more), root, tmp_path / str(number))["digest"]
        for number, more in enumerate(changes)
    ]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_language_does_not_depend_on_the_others_at_the_same_quota(root: Path, tmp_path: Path) -> None:
    fetch_data(config(["de", "fr"], 50, exponent=0.0), root, tmp_path / "two")
    fetch_data(config(["de", "sw", "fr"], 58, exponent=0.0), root, tmp_path / "three")
    two, three = ([row for row in rows_of(tmp_path / name) if row[0] == "de"] for name in ("two", "three"))
    assert len(two) == 25 and two == three


def test_all_missing_languages_are_named_at_once(root: Path, tmp_path: Path) -> None:
    (root / "mlm/th.txt").mkdir()
    with pytest.raises(UserError) as caught:
        fetch_data(config(["de", "th", "yo", "sw"], 50), root, tmp_path / "data")
    first, second, advice = caught.value.problems
    assert first.startswith(f"mlm train.th: no file under {root}; looked for mlm/th.txt, mlm/th.txt.gz, mlm/th/train")
    assert "mlm/th.txt is a folder, not a file" in first
    assert second.startswith("mlm train.yo: no file")
    assert advice == (
        "mlm: put one sentence on each line of these files, or go on with `mlm: {languages: [de, sw]}` in the grid"
    )
    with pytest.raises(UserError, match="mlm: no data root"):
        fetch_data(config(["de"], 50), None, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_all_damaged_files_are_named_at_once(root: Path, tmp_path: Path) -> None:
    (root / "mlm/ar.txt").write_bytes(b"\xd8\xa7\n\xff\n")
    (root / "mlm/el.txt").write_text("\n  \n")
    whole = (root / "mlm/sw.txt.gz").read_bytes()
    (root / "mlm/sw.txt.gz").write_bytes(whole[: len(whole) // 2])
    (root / "mlm/tr.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError) as caught:
        fetch_data(config(["ar", "de", "el", "sw", "tr"], 50), root, tmp_path / "data")
    places = [problem.split(": ")[0].rpartition("/")[2] for problem in caught.value.problems]
    assert places == ["ar.txt:2", "el.txt:1", "sw.txt.gz", "tr.txt.gz"]
    assert "damaged" in caught.value.problems[2] and "damaged" in caught.value.problems[3]
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_language_is_never_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "mlm").mkdir()
    line = "Ein Satz, der in einer sehr großen Datei steht und davon viele hat. " * 3
    with open(tmp_path / "mlm/de.txt", "w", encoding="utf-8") as file:
        for number in range(30_000):
            file.write(f"{number} {line}\n")
    size = (tmp_path / "mlm/de.txt").stat().st_size
    tracemalloc.start()
    fetch_data(config(["de"], 25_000), tmp_path, tmp_path / "data")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 5_000_000 and peak < size / 5


class Beats:
    """A heartbeat that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, dict[str, Any]]] = []

    def beat(self, phase: str, step: int, total: int, **facts: Any) -> None:
        self.seen.append((phase, step, total, facts))


def test_progress_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlm").mkdir()
    for language, count in (("de", 100), ("sw", 25_000)):
        (tmp_path / f"mlm/{language}.txt").write_text("".join(f"{i} a\n" for i in range(count)))
    beats = Beats()
    fetch_data(config(["de", "sw"], 20_000), tmp_path, tmp_path / "data", heartbeat=beats)
    assert [(phase, step, total, facts["sentences"]) for phase, step, total, facts in beats.seen] == [
        ("count", 1, 2, 10_000),
        ("count", 1, 2, 20_000),
        ("draw", 1, 2, 10_000),
    ]
    assert all(facts["language"] == "sw" for *_, facts in beats.seen)


# What comes after


def test_the_set_prepares_as_it_is(root: Path, tmp_path: Path) -> None:
    manifest = fetch_data(config(["de", "fr"], 50), root, tmp_path / "data")
    fetched = Fetched.load(tmp_path / "data")
    rows = rows_of(tmp_path / "data")
    assert fetched.read("train.mul").examples == [Text(text, "") for _, text, _ in rows]
    make_character_tokenizer([text for _, text, _ in rows]).save(str(tmp_path / "tokenizer.json"))
    settings = {"suite": "xtreme", "task": "mlm", "part": "train", "max_length": 16}
    facts = prepare(settings, tmp_path / "data", tmp_path, tmp_path / "prepared")
    assert facts["sequences"] == 50 == manifest["counts"]["train.mul"]["examples"]
    prepared = Prepared.load(tmp_path / "prepared").open("train.mul")
    assert (prepared.family, prepared.types) == ("mlm", None)
    assert set(prepared.lengths) <= set(range(3, 17))


def test_toy_text_of_the_named_languages(tmp_path: Path) -> None:
    toy = {"toy": {"sizes": {"train": 400}}}
    manifest = fetch_data(config(["en", "qab"], 60, "toy", **toy), None, tmp_path / "data")
    rows = rows_of(tmp_path / "data")
    assert Counter(language for language, _, _ in rows) == drawn_of(manifest) and len(rows) == 60
    fetch_data({**config([], 1, "toy", **toy), "task": "text"}, None, tmp_path / "text")
    corpus = (tmp_path / "text/text/train.tsv").read_text(encoding="utf-8").splitlines()
    assert {"\t".join(row) for row in rows} <= set(corpus)
    assert any(second for _, _, second in rows)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["manifest.json", "train.mul.tsv"]
    everything = fetch_data(config(["en", "qaa", "qab", "qac"], 2_000_000, "toy", **toy), None, tmp_path / "all")
    assert everything["counts"]["train.mul"]["examples"] == 400
    with pytest.raises(UserError, match="the toy suite has no text in language 'de'"):
        fetch_data(config(["en", "de"], 60, "toy", **toy), None, tmp_path / "other")


def test_real_text_in_four_languages(data_root: Path, unigram: Path, tmp_path: Path) -> None:
    write_texts(data_root, tmp_path / "root/mlm")
    manifest = fetch_data(config(MLM_LANGUAGES, 600), tmp_path / "root", tmp_path / "data")
    sizes = {source["language"]: source["size"] for source in manifest["languages"]}
    assert min(sizes.values()) > 100
    assert drawn_of(manifest) == share_out(weigh_languages(sizes, 0.3), 600, sizes)
    rows = rows_of(tmp_path / "data")
    originals = {
        language: set((tmp_path / f"root/mlm/{language}.txt").read_text(encoding="utf-8").splitlines())
        for language in MLM_LANGUAGES
    }
    assert all(text in {" ".join(line.split()) for line in originals[language]} for language, text, _ in rows)
    settings = {"suite": "xtreme", "task": "mlm", "part": "train", "max_length": 64}
    facts = prepare(settings, tmp_path / "data", unigram, tmp_path / "prepared")
    assert facts["sequences"] == 600 and facts["tokens"] > 600 * 10


# The hub


def article(language: str, number: int, sentences: int) -> dict[str, Any]:
    text = "\n\n".join(f"This is sentence number {number}x{i} in {language}." for i in range(sentences))
    return {"id": str(number), "url": "", "title": f"Title {number}", "text": f"{text}\n\nNotes"}


def push_wikipedia(server: HubServer, shards: Mapping[str, list[int]], counts: bool = True, **more: bytes) -> str:
    """`shards`: articles in each file of a language; every article has 5 sentences."""
    files, configs, infos = dict(more), [], []
    for language, sizes in shards.items():
        name, number = f"20231101.{language}", 0
        for index, size in enumerate(sizes):
            rows = [article(language, number + i, 5) for i in range(size)]
            number += size
            files[f"{name}/train-{index:05d}-of-{len(sizes):05d}.parquet"] = to_parquet(rows, ARTICLE)
        configs.append({"config_name": name, "data_files": [{"split": "train", "path": f"{name}/train-*"}]})
        infos.append({"config_name": name, "splits": [{"name": "train", "num_bytes": 9, "num_examples": number}]})
    card = {"configs": configs} | ({"dataset_info": infos} if counts else {})
    files["README.md"] = f"---\n{yaml.safe_dump(card)}---\n# Wikipedia\n".encode()
    return server.push(WIKIPEDIA, files)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    server = HubServer()
    push_wikipedia(server, {"en": [40] * 6, "sw": [16, 16], "yo": [1]})
    server.start()
    with use_hub(server, tmp_path / "home" / "hub"):
        yield server
    server.stop()


def fetch_wikipedia(tmp_path: Path, out: str = "data", sentences: int = 100, **more: Any) -> dict[str, Any]:
    languages = more.pop("languages", ["en", "sw", "yo"])
    return fetch_data(config(languages, sentences, source="hub", **more), None, tmp_path / out, tmp_path / "commits")


def brought(server: HubServer) -> set[str]:
    """Parquet files that were downloaded whole."""
    tails = {path for path, _ in server.tails}
    return {path.partition("20231101.")[2] for path in server.requests if path.endswith(".parquet")} - {
        path.partition("20231101.")[2] for path in tails
    }


def test_as_few_files_as_the_quotas_need(hub: HubServer, tmp_path: Path) -> None:
    manifest = fetch_wikipedia(tmp_path)
    shares = weigh_languages({"en": 240, "sw": 32, "yo": 1}, 0.3)
    quotas = share_out(shares, 100, {"yo": 5})  # one article of five sentences; the heading at its end is none
    assert drawn_of(manifest) == quotas and sum(quotas.values()) == 100
    assert Counter(language for language, _, _ in rows_of(tmp_path / "data")) == quotas
    assert Counter(name.partition("/")[0] for name in brought(hub)) == {"en": 1, "sw": 1, "yo": 1}
    english, swahili, _ = manifest["languages"]
    assert (english["size"], english["unit"], english["rows"], english["available"]) == (240, "articles", 40, 200)
    assert (swahili["size"], swahili["rows"], swahili["available"]) == (32, 16, 80)
    assert (english["repo"], english["config"], english["revision"]) == (WIKIPEDIA, "20231101.en", "main")
    assert len(english["commit"]) == 40 and len(english["files"]) == 1
    assert not hub.tails  # the card said how many articles there are
    (source,) = manifest["sources"]
    assert source["config"] == "20231101.en, 20231101.sw, 20231101.yo" and source["rows"] == 40 + 16 + 1
    assert (source["set"], source["repo"], source["commit"]) == ("train.mul", WIKIPEDIA, english["commit"])


def test_further_files_for_a_larger_quota(hub: HubServer, tmp_path: Path) -> None:
    manifest = fetch_wikipedia(tmp_path, sentences=500)
    assert drawn_of(manifest) == {"en": 335, "sw": 160, "yo": 5}
    assert manifest["languages"][0]["rows"] == 80
    assert Counter(name.partition("/")[0] for name in brought(hub)) == {"en": 2, "sw": 2, "yo": 1}
    everything = fetch_wikipedia(tmp_path, "all", sentences=10**6)
    assert drawn_of(everything) == {"en": 1200, "sw": 160, "yo": 5}


def test_the_same_again_without_network_and_other_files_with_another_seed(hub: HubServer, tmp_path: Path) -> None:
    first = fetch_wikipedia(tmp_path)
    push_wikipedia(hub, {"en": [1], "sw": [1], "yo": [1]})
    hub.stop()
    again = fetch_wikipedia(tmp_path, "again")
    assert [again[key] for key in KEYS] == [first[key] for key in KEYS]
    hub.start()
    files = {
        tuple(file["path"] for file in fetch_wikipedia(tmp_path, str(seed), seed=seed)["languages"][0]["files"])
        for seed in range(5)
    }
    assert len(files) > 1


def test_sizes_from_the_footers_where_the_card_has_none(hub: HubServer, tmp_path: Path) -> None:
    with_card = fetch_wikipedia(tmp_path)
    push_wikipedia(hub, {"en": [40] * 6, "sw": [16, 16], "yo": [1]}, counts=False)
    hub.requests.clear()
    manifest = fetch_data(
        config(["en", "sw", "yo"], 100, source="hub"), None, tmp_path / "again", tmp_path / "another campaign"
    )
    assert [source["size"] for source in manifest["languages"]] == [240, 32, 1]
    assert manifest["digest"] == with_card["digest"]
    assert len(hub.tails) == 9 and all(0 < size <= 2**18 for _, size in hub.tails)


def test_a_footer_longer_than_expected(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stilts.data.hub_snapshots._FOOTER_BYTES", 64)
    push_wikipedia(hub, {"en": [40] * 3}, counts=False)
    assert fetch_wikipedia(tmp_path, languages=["en"])["languages"][0]["size"] == 120
    assert [size for _, size in hub.tails[::2]] == [64] * 3
    assert all(size > 64 for _, size in hub.tails[1::2])


def test_a_language_that_the_hub_has_not(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch_wikipedia(tmp_path, languages=["en", "tlh", "xx"])
    first, second, advice = caught.value.problems
    assert "no configuration 20231101.tlh; there are 20231101.en, 20231101.sw, 20231101.yo; name" in first
    assert "no configuration 20231101.xx" in second
    assert advice == "mlm: to go on with the others name them in the grid: `mlm: {languages: [...]}`"
    assert not (tmp_path / "data").exists()


def test_many_configurations_are_not_all_listed(hub: HubServer, tmp_path: Path) -> None:
    push_wikipedia(hub, {f"a{number}": [1] for number in range(30)})
    with pytest.raises(UserError, match=r"no configuration 20231101.en; there are 20231101.a0, .* and 10 more; name"):
        fetch_wikipedia(tmp_path, languages=["en"])


def test_damaged_and_foreign_files_of_the_hub(hub: HubServer, tmp_path: Path) -> None:
    path = "20231101.en/train-00000-of-00001.parquet"
    card = {"configs": [{"config_name": "20231101.en", "data_files": [{"split": "train", "path": path}]}]}
    card |= {"dataset_info": [{"config_name": "20231101.en", "splits": [{"name": "train", "num_examples": 3}]}]}
    readme = f"---\n{yaml.safe_dump(card)}---\n".encode()
    foreign = to_parquet([{"title": "no text"}], {"title": TEXT})
    for number, data in enumerate((b"PAR1 and no more", foreign)):
        hub.push(WIKIPEDIA, {"README.md": readme, path: data})
        with pytest.raises(UserError, match=r"train-00000-of-00001.parquet: cannot be read .*remove .*fetch again"):
            fetch_data(config(["en"], 10, source="hub"), None, tmp_path / "data", tmp_path / f"campaign {number}")
    assert not (tmp_path / "data").exists()


def test_the_hub_goes_away(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    fetch_wikipedia(tmp_path, languages=["yo"], sentences=2)
    hub.stop()
    with pytest.raises(UserError, match=rf"dataset {WIKIPEDIA} at main: the hub did not give it and the cache"):
        fetch_wikipedia(tmp_path, languages=["en", "yo"])


def test_it_is_said_that_the_text_is_another_one() -> None:
    notes = " ".join(KNOWN_DIFFERENCES["mlm"])
    assert "14 April 2020" in notes and "1 November 2023" in notes and "numbers of articles" in notes
