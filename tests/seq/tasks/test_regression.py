"""Figures of several labels and of numbers are those of torchmetrics, whatever the split into shards, dummy rows included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multilabel_exact_match, multilabel_f1_score
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from seq.config import Config
from seq.config.read import parse_config
from seq.data.dataset import SequenceDataset
from seq.data.examples import make_examples
from seq.data.outputs import Outputs
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.models import Model, build_model
from seq.tasks import TASKS, Evaluation, task_of
from seq.tasks.regression import NumberEvaluator, Regression
from seq.training.evaluation import evaluate
from tests.helpers import run_ranks

LABELS = Outputs(labels=tuple("abcd"))
NUMBERS = Outputs(mean=5.0, scale=3.0)


def split_of(target: str, rows: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    sequences = RaggedArray.of([random.integers(1, 9, random.integers(1, 6)) for _ in range(rows)])
    if target == "number":
        return Split.of(sequences, random.normal(size=rows).astype(np.float32), 0, TASKS["regression"], NUMBERS)
    sets = [np.flatnonzero(random.random(4) < 0.4) for _ in range(rows)]
    return Split.of(sequences, RaggedArray.of(sets), 0, TASKS["multilabel"], LABELS)


def evaluated(target: str, split: Split) -> tuple[Evaluation, Model]:
    about = {"kind": "classifier", "target": target, "hidden_size": 4, "embedding_dim": 4}
    config = parse_config({"model": about, "batch": {"shards": 3}}, where="test")
    model = build_model(config, vocab_size=9, num_outputs=split.outputs.size)
    with torch.no_grad():
        model.output.weight.mul_(9)
    return evaluate(task_of(config), model, split, config, torch.device("cpu")), model.eval()


def read_all(model: Model, split: Split) -> torch.Tensor:
    with torch.inference_mode():
        inputs, lengths = (torch.from_numpy(part) for part in split.sequences.pad(np.arange(len(split))))
        logits: torch.Tensor = model(inputs, lengths)[0]
        return logits


def check_sets(rank: int) -> None:
    for rows, seed in ((1, 1), (2, 2), (40, 3)):
        split = split_of("labels", rows, seed)
        result, model = evaluated("labels", split)
        logits, coded = read_all(model, split), split.targets
        assert isinstance(coded, RaggedArray)
        truth = torch.zeros(rows, 4, dtype=torch.int64)
        for row in range(rows):
            truth[row, coded.values[coded.offsets[row] : coded.offsets[row + 1]].tolist()] = 1
        chances, figures = logits.sigmoid(), result.figures
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), truth.double())
        assert figures["loss"] == pytest.approx(loss.item(), rel=1e-5)
        if truth.any() or (chances >= 0.5).any():
            micro = multilabel_f1_score(chances, truth, num_labels=4, average="micro", threshold=0.4999999)
            assert figures["micro_f1"] == pytest.approx(micro.item(), abs=1e-6)
        exact = multilabel_exact_match(chances, truth, num_labels=4)
        assert figures["exact_match"] == pytest.approx(exact.item(), abs=1e-6)
        assert result.classes is not None
        assert [row["support"] for row in result.classes] == truth.sum(0).tolist()
        macro = multilabel_f1_score(chances, truth, num_labels=4, average="macro")
        assert figures["macro_f1"] == pytest.approx(macro.item(), abs=1e-6)
        each = multilabel_f1_score(chances, truth, num_labels=4, average="none")
        assert [row["f1"] for row in result.classes] == pytest.approx(each.tolist(), abs=1e-6)


def check_numbers(rank: int) -> None:
    for rows, seed in ((2, 1), (3, 2), (41, 3)):
        split = split_of("number", rows, seed)
        result, model = evaluated("number", split)
        truth = torch.from_numpy(np.asarray(split.targets)).double() * NUMBERS.scale + NUMBERS.mean
        guesses = read_all(model, split)[:, 0].double() * NUMBERS.scale + NUMBERS.mean
        assert result.figures["mse"] == pytest.approx(mean_squared_error(guesses, truth).item(), rel=1e-5)
        assert result.figures["mae"] == pytest.approx(mean_absolute_error(guesses, truth).item(), rel=1e-5)
        assert result.figures["r2"] == pytest.approx(r2_score(guesses, truth).item(), rel=1e-5)


def check_tags(rank: int) -> None:
    """Tags with two parts: each figure again from single tokens."""
    labels = ("a|", "a|.", "A|", "A|.", "A|,")
    random = np.random.default_rng(5)
    sequences = RaggedArray.of([random.integers(4, 9, length) for length in (1, 5, 3, 7, 2)])
    tags = RaggedArray(random.integers(0, 5, len(sequences.values)), sequences.offsets)
    split = Split.of(sequences, tags, 0, TASKS["tagging"], Outputs(labels=labels))
    about = {"kind": "tagger", "hidden_size": 4, "embedding_dim": 4, "ngrams": 3}
    tree = {"model": about, "data": {"tokenizer": "tokens"}, "batch": {"shards": 3}}
    config = parse_config(tree, where="test")
    model = build_model(config, vocab_size=9, num_outputs=5)
    with torch.no_grad():
        model.output.weight.mul_(9)
    result = evaluate(task_of(config), model, split, config, torch.device("cpu"))
    guesses, loss, shares = list[int](), 0.0, list[tuple[int, int]]()
    for row in range(len(sequences)):
        inputs, lengths = (torch.from_numpy(part) for part in sequences.pad(np.array([row])))
        logits = model.eval()(inputs, lengths)[0][0]
        guesses += logits.argmax(-1).tolist()
        truth = torch.from_numpy(tags.take(np.array([row])).values)
        loss += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
        shares.append((int((logits.argmax(-1) == truth).sum()), len(truth)))
    hits = [guess == true for guess, true in zip(guesses, tags.values.tolist(), strict=True)]
    assert result.figures["accuracy"] == sum(hits) / len(hits)
    assert result.figures["loss"] == pytest.approx(loss / len(hits), rel=1e-5)
    # By sequence: the squares of what each adds to the error of the ratio.
    share, size = sum(hits) / len(hits), len(hits)
    spread = sum((right - share * number) ** 2 for right, number in shares)
    assert result.errors == {"accuracy": pytest.approx(spread**0.5 / size)}
    assert result.parts is not None
    for part in result.parts:
        inside = [labels[place].split("|")[part["part"] - 1] == part["label"] for place in range(5)]
        true, predicted = ([inside[place] for place in places] for places in (tags.values.tolist(), guesses))
        both = sum(a and b for a, b in zip(true, predicted, strict=True))
        assert part["f1"] == pytest.approx(2 * both / max(1, sum(true) + sum(predicted)))
    assert {"macro_f1_1", "macro_f1_2"} < result.figures.keys()


def check_nan(rank: int) -> None:
    """A model that says NaN is not perfect."""
    split = split_of("number", 5, 1)
    evaluator = NumberEvaluator(1.0)
    batch = SequenceDataset(split).gather(np.arange(5))
    sums = evaluator.add(lambda **_: (torch.full((5, 1), torch.nan), None), batch)  # type: ignore[arg-type]
    assert np.isnan(evaluator.result(sums.tolist(), []).figures["mse"])


CHECKS = {"nan": check_nan, "tags": check_tags, "sets": check_sets, "numbers": check_numbers}


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_figures_are_those_of_torchmetrics(tmp_path: Path, check: str) -> None:
    run_ranks(CHECKS[check], 1, tmp_path)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_numbers_have_mean_0_and_deviation_1(numbers: list[float]) -> None:
    outputs = Regression().learn(numbers, Config().data)
    coded = Regression().code(make_examples("train", ["x"] * len(numbers), numbers), outputs)
    assert isinstance(coded, np.ndarray)
    back = coded.astype(np.float64) * outputs.scale + outputs.mean
    np.testing.assert_allclose(back, numbers, rtol=1e-4, atol=1e-5 * outputs.scale)
