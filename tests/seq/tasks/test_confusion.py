"""Standard errors, against draws of whole data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from seq.data.outputs import Outputs
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.models import build_model
from seq.tasks import TASKS, confusion, task_of
from seq.tasks.classification import Classification
from seq.tasks.confusion import Confusion, macro_f1_error, per_class
from seq.tasks.metrics import clustered_error, share_error
from seq.tasks.mistakes import most_confused
from seq.training.evaluation import evaluate
from tests.helpers import run_ranks
from tests.seq.training.test_step import make_config


def test_of_a_share() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.3, 100_000) / 200
    assert share_error(0.3, 200) == pytest.approx(draws.std(), rel=0.01)


def test_of_tokens_that_are_alike_within_a_sequence() -> None:
    """200 sentences of 5 to 30 tokens, each of its own difficulty."""
    random = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        sizes = random.integers(5, 31, 200)
        return random.binomial(sizes, random.beta(4, 1, 200)), sizes

    shares = [right.sum() / sizes.sum() for right, sizes in (draw() for _ in range(4000))]
    found = []
    for _ in range(200):
        right, sizes = draw()
        sums = (int(np.sum(right**2)), int(np.sum(right * sizes)), int(np.sum(sizes**2)))
        found.append(clustered_error(sums, right.sum() / sizes.sum(), int(sizes.sum())))
    assert np.mean(found) == pytest.approx(np.std(shares), rel=0.05)
    assert np.mean(found) > 1.5 * share_error(0.8, int(sizes.sum()))


def test_of_macro_f1() -> None:
    matrix = np.array([[50, 20, 3], [10, 40, 0], [2, 2, 9]])
    draws = np.random.default_rng(1).multinomial(matrix.sum(), matrix.ravel() / matrix.sum(), 20_000)
    f1 = [np.mean([row["f1"] for row in per_class(Confusion.of(draw.reshape(3, 3)))]) for draw in draws[:6000]]
    assert macro_f1_error(Confusion.of(matrix)) == pytest.approx(np.std(f1), rel=0.05)
    assert macro_f1_error(Confusion.of(np.array([[7]]))) == 0


def evaluate_as(rank: int, dense: int, file: str) -> None:
    confusion.DENSE = dense
    config = make_config("classifier", 4)
    random = np.random.default_rng(2)
    sequences = RaggedArray.of([random.integers(1, 11, random.integers(1, 9)) for _ in range(50)])
    split = Split.of(sequences, random.integers(0, 3, 50), 0, TASKS["classification"], Outputs(labels=tuple("abc")))
    model = build_model(config, vocab_size=11, num_outputs=3)
    with torch.no_grad():
        model.output.weight.mul_(20)
    result = evaluate(task_of(config), model, split, config, torch.device("cpu"))
    assert result.confusion is not None
    errors = Classification().standard_errors(result)
    if rank == 0:
        matrix = result.confusion.dense().tolist()
        torch.save((result.figures, errors, result.classes, matrix, most_confused(result.confusion)), file)


@pytest.mark.slow
def test_of_many_classes_the_matrix_is_kept_by_its_cells(tmp_path: Path) -> None:
    """With the same figures, whatever the number of ranks."""
    found = []
    for dense, ranks in ((1000, 1), (2, 1), (2, 3)):
        file = str(tmp_path / f"{dense}-{ranks}.pt")
        folder = tmp_path / f"{dense}-{ranks}"
        folder.mkdir()
        run_ranks(evaluate_as, ranks, folder, dense, file)
        found.append(torch.load(file, weights_only=True))
    assert found[0] == found[1] == found[2]
    assert sum(map(sum, found[0][3])) == 50
