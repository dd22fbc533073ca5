from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seq.inference.classify import answers, predict
from seq.inference.trained import load_run
from tests.helpers import run

pytestmark = pytest.mark.slow


def test_predict(names: Path) -> None:
    texts = ["Adylov", "Sloan", "Harb", "San", ""]
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
    alone = torch.cat([answers(trained, [text]) for text in texts])
    torch.testing.assert_close(answers(trained, texts), alone)


def test_predict_streams_stdin_and_cuts_endless_lines(names: Path) -> None:
    done = run("python", "-m", "seq.predict", names, stdin="Sloan\r\n" + "x" * 300_000 + "\nHarb\n\nSan")
    assert done.returncode == 0, done.stderr
    texts = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert [texts[0], texts[2:]] == ["Sloan", ["Harb", "", "San"]]
    assert set(texts[1]) == {"x"}
    assert len(texts[1]) <= 33
    assert "cut to data.max_length" in done.stderr


def test_predict_takes_any_number_of_texts(names: Path) -> None:
    """Lazily: the third result comes before the tenth text is asked for."""
    asked = []

    def texts() -> Iterator[str]:
        for number in range(1000):
            asked.append(number)
            yield "Sloan"

    results = predict(load_run(names, None), texts(), top=1, rows=4)
    for _ in range(3):
        next(results)
    assert len(asked) == 4
