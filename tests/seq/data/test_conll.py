"""CoNLL-like files, and tokens and tags as lists."""

import json
from pathlib import Path

import pandas
import pytest

from seq.data.conll import read_tokens
from seq.data.corpus import Corpus, prepare_corpus
from seq.data.ragged import RaggedArray
from seq.errors import UserError
from seq.tasks import TASKS
from tests.corpora import data, texts

SENTENCES = [
    (["EU", "rejects", "call"], ["B-ORG", "O", "O"]),
    (["Peter"], ["B-PER"]),
    (["a", "b", "c", "d"], ["O"] * 4),
]


def tagged(corpus: Corpus) -> list[list[str]]:
    targets = corpus.splits["train"].targets
    assert isinstance(targets, RaggedArray)
    bounds = zip(targets.offsets[:-1], targets.offsets[1:], strict=True)
    return [[corpus.labels[tag] for tag in targets.values[start:stop]] for start, stop in bounds]


def prepared(path: Path, source: str, **keys: object) -> Corpus:
    own = {"source": source, "files": {"train": str(path)}, "text": "tokens", "label": "tags", "tokenizer": "tokens"}
    return prepare_corpus(data(**own | {"validation_fraction": 0.0} | keys), TASKS["tagging"])


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    lines = "\n\n".join("\n".join(f"{token} NN x {tag}" for token, tag in zip(*own, strict=True)) for own in SENTENCES)
    (tmp_path / "a.txt").write_text(f"-DOCSTART- -X- O O\n\n{lines}\n")
    rows = [{"tokens": tokens, "tags": tags} for tokens, tags in SENTENCES]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    pandas.DataFrame([{key: " ".join(own) for key, own in row.items()} for row in rows]).to_csv(tmp_path / "a.csv")
    for source, suffix in (("text", "txt"), ("json", "jsonl"), ("parquet", "parquet"), ("csv", "csv")):
        corpus = prepared(tmp_path / f"a.{suffix}", source)
        assert texts(corpus, "train") == [" ".join(tokens) for tokens, _ in SENTENCES]
        assert tagged(corpus) == [tags for _, tags in SENTENCES]


def test_a_long_sequence_is_cut_evenly_with_its_tags(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"w{n} t{n}" for n in range(10)))
    corpus = prepared(tmp_path / "a.txt", "text", max_length=4)
    assert texts(corpus, "train") == ["w0 w1 w2", "w3 w4 w5", "w6 w7 w8 w9"]
    assert tagged(corpus) == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6", "t7", "t8", "t9"]]
    cut = prepared(tmp_path / "a.txt", "text", max_length=4, too_long="truncate")
    assert (texts(cut, "train"), tagged(cut)) == (["w0 w1 w2 w3"], [["t0", "t1", "t2", "t3"]])


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("EU B-ORG\nrejects O\n\nPeter\n")
    with pytest.raises(UserError, match=r"a.txt: line 4 has a token and no tag"):
        prepared(tmp_path / "a.txt", "text")
    (tmp_path / "a.jsonl").write_text('{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a", "b"], "tags": ["O"]}\n')
    with pytest.raises(UserError, match=r"train row 2: 2 tokens, but 1 tags"):
        prepared(tmp_path / "a.jsonl", "json")


UD = """\
# sent_id = 1
1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tADP\tP\t_\t3\tcase\t_\t_
2\tle\tle\tDET\tD\t_\t3\tdet\t_\t_
2.1\tvide\t_\t_\t_\t_\t_\t_\t_\t_
3\tchat\tchat\tNOUN\tN\t_\t0\troot\t_\t_
"""


def test_universal_dependencies_comments_and_white_space_in_tokens(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text(UD)
    assert (texts(prepared(path, "text"), "train"), tagged(prepared(path, "text"))) == (
        ["de le chat"],
        [["ADP", "DET", "NOUN"]],
    )
    assert tagged(prepared(path, "text", tag_column=5)) == [["P", "D", "N"]]
    path.write_text("# global.columns = FORM NER\n10\u00a0000\tNUM\n\n# 2\n#\tSYM\n1\tNUM\n")
    assert texts(prepared(path, "text"), "train") == ["10\u00a0000", "# 1"]
    path.write_text("# SYM\n1 NUM\n")
    assert tagged(prepared(path, "text")) == [["SYM", "NUM"]], "a token, since it has a tag"
    path.write_text("a X\nb c Y\n")
    with pytest.raises(UserError, match="line 2 has 3 columns, others have 2"):
        prepared(path, "text")


def test_lists_that_were_written_as_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tokens,tags\n\"['a', 'b']\",\"['A', 'B']\"\n")
    with pytest.raises(UserError, match="a list written as text"):
        prepared(tmp_path / "a.csv", "csv")


def test_tokens_of_a_file_to_predict(tmp_path: Path) -> None:
    """With tags or without."""
    (tmp_path / "a.conll").write_text("EU\tB\ncalls\tO\n\nPeter\tB\n")
    (tmp_path / "b.conll").write_text("EU\ncalls\n\nPeter\n")
    for name in ("a", "b"):
        assert list(read_tokens(tmp_path / f"{name}.conll", "utf-8", data(tokenizer="tokens"))) == ["EU calls", "Peter"]
