import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import seq
from seq.run.trained import load_run
from seq.tasks.classification import Classification
from tests.helpers import run

pytestmark = pytest.mark.slow


def test_predict(names: Path) -> None:
    texts = ["Adylov", "Sloan", "Harb", "San", "O"]
    done = run("python", "-m", "seq.predict", names, *texts, "--top", "18")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == texts
    for line in lines:
        chances = [float(word.rpartition(" ")[2]) for word in line[1:]]
        assert len(chances) == 18
        assert sum(chances) == pytest.approx(1, abs=0.02)
        assert chances == sorted(chances, reverse=True)
    # Together or one by one, the same.
    trained = load_run(names, None)
    alone = [chances for text in texts for _, chances in Classification().predictions(trained, [text])]
    together = [chances for _, chances in Classification().predictions(trained, texts)]
    torch.testing.assert_close(torch.stack(together), torch.stack(alone))


def test_predict_streams_stdin_and_cuts_endless_lines(names: Path) -> None:
    done = run("python", "-m", "seq.predict", names, stdin="Sloan\r\n" + "x" * 300_000 + "\nHarb\n\nSan")
    assert done.returncode == 0, done.stderr
    texts = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert [texts[0], texts[2:]] == ["Sloan", ["Harb", "", "San"]]
    assert set(texts[1]) == {"x"}
    assert len(texts[1]) <= 33
    assert "cut to data.max_length" in done.stderr
    assert "row 4: the text is empty; it has no answer" in done.stderr


def test_predict_takes_any_number_of_texts(names: Path) -> None:
    """Lazily: the third result comes before the tenth text is asked for."""
    asked = []

    def texts() -> Iterator[str]:
        for number in range(1000):
            asked.append(number)
            yield "Sloan"

    results = Classification().predictions(load_run(names, None), texts(), rows=4)
    for _ in range(3):
        next(results)
    assert len(asked) == 4


def test_a_table_in_a_table_out(names: Path, tmp_path: Path) -> None:
    """Rows keep their columns and their order, also those without an answer."""
    table, lines = tmp_path / "people.csv", tmp_path / "people.jsonl"
    people = [("Sloan", "1, a"), ("", "2"), ("Adylov", '3 "b"')]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("surname", "note"), *people])
    lines.write_text("".join(json.dumps({"surname": name, "note": note}) + "\n" for name, note in people))
    command = ("python", "-m", "seq.predict", names, "--column", "surname")
    done = run(*command, "--file", table, "--csv", "--top", "2")
    assert done.returncode == 0, done.stderr
    assert "row 2: the text is empty" in done.stderr
    header, *rows = csv.reader(done.stdout.splitlines())
    assert header == ["surname", "note", "prediction", "probability", "prediction2", "probability2"]
    assert [tuple(row[:2]) for row in rows] == people
    assert rows[1][2:] == ["", "", "", ""]
    expected = dict(seq.load(names).probabilities("Sloan"))  # type: ignore[union-attr]
    assert float(rows[0][3]) == pytest.approx(expected[rows[0][2]], rel=1e-5)
    done = run(*command, "--file", lines, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["surname"], row["note"]) for row in found] == people
    assert [row["prediction"] for row in found] == [rows[0][2], None, rows[2][2]]


def test_what_has_no_answer(names: Path, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("name,origin\nSloan,Irish\n")
    (tmp_path / "long.csv").write_text("surname\nSloan,Irish\n")
    for words, said in (
        ([""], "text 1: the text is empty"),
        ([table], f"{table} is a file, not a text; read it with --file {table}"),
        (["--file", table], "people.csv: no column 'text' (--column); columns are name, origin"),
        (["--file", tmp_path / "long.csv"], "row 1: has 2 fields, and the table has 1"),
        (["--file", tmp_path / "none.csv"], "No such file"),
        (["Sloan", "--top", "0"], "--top must be at least 1"),
        (["Sloan", "--column", "a"], "--column names columns of a --file"),
    ):
        done = run("python", "-m", "seq.predict", names, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr
    done = run("python", "-m", "seq.predict", names, "Sloan", "\u4e00\u4e8ca")
    assert "1 of 2 text(s) have characters that the model does not know: 67% of" in done.stderr


def test_which_checkpoint(names: Path) -> None:
    """By its step, its file or its path; a checkpoint alone is a model too."""
    file = names / "checkpoints" / "step-00000008.pt"
    said = [
        run("python", "-m", "seq.predict", *words, "Sloan").stdout
        for words in (
            (names, "--checkpoint", "8"),
            (names, "--checkpoint", file.name),
            (names, "--checkpoint", file),
            (file,),
        )
    ]
    assert said[0].startswith("Sloan\t")
    assert len(set(said)) == 1
    assert said[0] != run("python", "-m", "seq.predict", names, "Sloan").stdout
    none = run("python", "-m", "seq.predict", names, "--checkpoint", "7", "Sloan")
    assert "no checkpoint step-00000007.pt; it has step-00000008.pt, step-00000012.pt" in none.stderr


def test_tables_as_they_are(names: Path, tmp_path: Path) -> None:
    """Empty lines, columns in another order, another encoding, half an emoji."""

    def answers(content: str | bytes, name: str, *more: str) -> str:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        done = run("python", "-m", "seq.predict", names, "--file", file, *more)
        return done.stdout if done.returncode == 0 else done.stderr

    blank = list(csv.reader(answers("text\nAdylov\n\nSloan\n", "a.csv", "--csv").splitlines()))
    assert [row[0] for row in blank] == ["text", "Adylov", "", "Sloan"]
    lines = '{"text": "Sloan", "id": 1}\n{"id": 2, "text": "Harb"}\n{"text": "San"}\n'
    mixed = list(csv.reader(answers(lines, "a.jsonl", "--csv").splitlines()))
    assert [row[:2] for row in mixed] == [["text", "id"], ["Sloan", "1"], ["Harb", "2"], ["San", ""]]
    assert "two columns are named 'x'" in answers("text,x,x\nSloan,1,2\n", "b.csv", "--csv")
    assert (
        "line 2 is not utf-8; set data.encoding, such as cp1252 (Windows) or latin-1 (in seq.predict, --encoding)"
        in answers("text\nM\u00fcller\n".encode("latin-1"), "c.csv")
    )
    half = answers('{"text": "hi \\ud83d"}\n', "d.jsonl", "--json")
    assert json.loads(half)["prediction"]
    returns = answers(b"one\rtwo\nthree\r\nfour", "e.txt", "--csv").splitlines()
    assert [row.split(",")[0] for row in returns] == ["text", "one", "two", "three", "four"]
    swallowed = run(
        "python", "-m", "seq.predict", names, "--file", _written(tmp_path / "f.csv", 'text,n\na,"1\nb,2"\nc,3\n')
    )
    assert "1 row(s) have a text with a line end and the delimiter in it, such as f.csv row 1" in swallowed.stderr


def _written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path
