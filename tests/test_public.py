"""benchmarks/public.py reads the formats in which public sets come, and prints a run's figures beside published ones."""

import json
from pathlib import Path

import pytest

from benchmarks import public
from seq.config.read import load_config, override_config
from seq.data.corpus import prepare_corpus
from seq.data.local_files import SPLITS
from seq.errors import UserError
from seq.tasks import task_of
from tests.helpers import ROOT, run


@pytest.fixture(autouse=True)
def _in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def prepared(name: str, copy: Path, cut: int | None = None) -> dict[str, str]:
    return {split: path.read_text() for split, path in public.prepare(name, copy, cut).items()}


def test_every_set_has_published_figures() -> None:
    assert list(public.SETS) == list(public.PUBLISHED)
    for about in public.PUBLISHED.values():
        assert all(len(figures) == len(about["figures"]) for _, _, figures, _ in about["published"])
        assert all(source for *_, source in about["published"])


def test_a_text_is_divided(tmp_path: Path) -> None:
    (copy := tmp_path / "text8").write_text("".join(f"{n:04} " for n in range(200)))
    files = prepared("text8", copy)
    assert "".join(files[split] for split in SPLITS) == copy.read_text()
    assert [len(files[split]) for split in SPLITS] == [900, 50, 50]
    assert prepared("text8", copy, cut=100)["train"] == copy.read_text()[:100]


def test_bytes_are_the_characters_of_enwik8(tmp_path: Path) -> None:
    """A border may divide a character: each letter here has two bytes, of which the second may be 0x85, which some read as a line end."""
    (copy := tmp_path / "enwik8").write_bytes("\u00c5\u00e9\u6587 abc\n".encode()[:13] * 331)
    files = public.prepare("enwik8", copy)
    words = [*public.SETS["enwik8"].words, *(f"data.files.{split}={path}" for split, path in files.items())]
    config = override_config(load_config(Path(words[0])), words[1:], where="test")
    corpus = prepare_corpus(config.data, task_of(config))
    for split, path in files.items():
        assert corpus.splits[split].num_characters == path.stat().st_size
    assert corpus.tokenizer.vocab_size == 4 + len(set(files["train"].read_bytes()))


@pytest.mark.parametrize(
    "text",
    ["So\tO\nwhy\tCOMMA\nhere\tQUESTIONMARK\nyes\tO\n", "So why ,COMMA here ?QUESTIONMARK\nyes\n"],
    ids=["lines", "running"],
)
def test_marks(text: str, tmp_path: Path) -> None:
    for name in ("train2012", "dev2012", "test2011"):
        (tmp_path / name).write_text(text)
    files = prepared("iwslt2011", tmp_path)
    assert files["test"] == files["validation"] == "so\tO\nwhy\tCOMMA\nhere\tQUESTION\nyes\tO\n\n"


def test_sentences_of_brown(tmp_path: Path) -> None:
    (copy := tmp_path / "brown").mkdir()
    lines = ["The/at 1\\/2/cd Jury/nn-tl ./.", *["said/vbd"] * 7, "no/at bonne/fw-jj", "who's/wps+bez"]
    (copy / "ca01").write_text("\n\n".join(f"\t{line}" for line in lines))
    (copy / "README").write_text("no/sentence")
    files = prepared("brown", copy)
    assert files["train"].startswith("The\tat\n1\\/2\tcd\nJury\tnn\n.\t.\n\nsaid\tvbd\n\n")
    assert files["validation"] == "no\tat\nbonne\tnil\n\n"
    assert files["test"] == "who's\tnil\n\n"


def test_words_of_the_dictionary(tmp_path: Path) -> None:
    (copy := tmp_path / "dict").write_text(
        ";;; comment\n!MARK  M\nREAD  R EH1 D\nREAD(2)  R IY1 D\nco-op K OW1 # abbrev\n"
    )
    files = prepared("cmudict", copy)
    assert sorted(row for text in files.values() for row in text.splitlines()[1:]) == [
        *("co-op,K OW1", "read,R EH1 D", "read,R IY1 D")
    ]
    with pytest.raises(UserError, match="no file whose name has 'train'"):
        public.prepare("cmudict", tmp_path)


def test_f1_of_marks() -> None:
    """Of all marks together, as published: the counts are added first."""
    confusion = [[5, 1, 0], [2, 3, 0], [1, 0, 4]]  # true rows, said columns
    result = {"labels": ["O", "COMMA", "PERIOD"], "confusion": confusion}
    comma, period = 2 * 3 / (4 + 5), 2 * 4 / (4 + 5)
    assert public.f1_of_marks(result) == pytest.approx([100 * comma, 100 * period, 0, 100 * 2 * 7 / 18])


@pytest.mark.slow
@pytest.mark.extended
def test_a_run_beside_published_figures(tmp_path: Path) -> None:
    (copy := tmp_path / "brown").mkdir()
    (copy / "ca01").write_text("\n".join(f"The/at {word}/nn said/vbd ./." for word in ("jury", "court") * 30))
    tiny = ["model.hidden_size=8", "model.embedding_dim=8", "train.epochs=2", "logging.report=false"]
    done = run("python", "-m", "benchmarks.public", "brown", copy, *tiny, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "benchmark-public-brown.json").read_text())["rows"]
    assert rows[0][0] == "lockstep, this run"
    assert "Charniak" in done.stdout
    refused = run("python", "-m", "benchmarks.public", "ewt", cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert refused.returncode == 1
    assert "the folder of a release" in refused.stderr
