"""Figures are those of torchmetrics."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.tasks.classification import Classification, Counts
from seq.tasks.confusion import Confusion, ConfusionCounts, calibration, per_class, precision_recall
from seq.tasks.language_modeling import Counts as TextCounts
from seq.tasks.language_modeling import LanguageModeling
from seq.tasks.metrics import compute, table_order
from tests.runs import result

Tables = st.integers(1, 6).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 9), min_size=size, max_size=size), min_size=size, max_size=size)
)


@given(Tables.filter(lambda rows: sum(map(sum, rows)) > 0))
def test_classifier_figures_are_those_of_torchmetrics(rows: list[list[int]]) -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    confusion = np.array(rows)
    pairs = [(true, guess) for (true, guess), count in np.ndenumerate(confusion) for _ in range(count)]
    target, predicted = (torch.tensor(side) for side in zip(*pairs, strict=True))
    figures = compute(Classification.metrics, Counts(3.0, Confusion.of(confusion)))
    size = max(2, len(rows))
    f1 = multiclass_f1_score(predicted, target, num_classes=size, average="macro")
    accuracy = multiclass_accuracy(predicted, target, num_classes=size, average="micro")
    assert figures["macro_f1"] == pytest.approx(f1.item(), abs=1e-6)
    assert figures["accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)
    assert figures["loss"] == 3.0 / confusion.sum()
    assert sum(row["support"] for row in per_class(Confusion.of(confusion))) == len(pairs)


def test_precision_and_recall_are_those_of_torchmetrics_at_each_threshold() -> None:
    """In two batches, with the dummy row of an empty shard, and a class without rows."""
    from torchmetrics.functional.classification import multiclass_precision_recall_curve

    torch.manual_seed(0)
    logits, targets, tally = 2 * torch.randn(60, 4), torch.randint(0, 3, (60,)), ConfusionCounts(4, torch.device("cpu"))
    tally.add(logits[:40], targets[:40])
    tally.add(torch.cat([logits[40:], torch.randn(1, 4)]), torch.cat([targets[40:], torch.tensor([-100])]))
    assert tally.confusion is not None
    assert tally.confusion.sum() == 60
    thresholds = torch.arange(ConfusionCounts.LEVELS) / ConfusionCounts.LEVELS
    precision, recall, _ = multiclass_precision_recall_curve(
        logits.softmax(-1), targets, num_classes=4, thresholds=thresholds
    )
    assert precision_recall(tally.scores[3].numpy()) == []
    for number in range(3):
        reached = int((thresholds <= logits.softmax(-1)[:, number].max()).sum())
        want = torch.stack([recall[number][:reached], precision[number][:reached]], dim=1).flip(0)
        assert reached > 10
        np.testing.assert_allclose(precision_recall(tally.scores[number].numpy()), want, atol=1e-6)


def test_logits_that_are_not_numbers_are_counted_too() -> None:
    tally = ConfusionCounts(3, torch.device("cpu"))
    tally.add(torch.tensor([[torch.nan, 0, 0], [torch.inf, torch.inf, 0]]), torch.tensor([1, 2]))
    assert tally.confusion is not None
    assert int(tally.confusion.sum()) == 2
    assert int(tally.scores.sum()) == 6


def test_language_model_figures() -> None:
    found = TextCounts(math.log(2) * 30, None, targets=11, characters=10, unknown_bits=5.0)
    figures = compute(LanguageModeling.metrics, found)
    assert set(figures) == {"loss", "bits_per_char", "perplexity"}
    assert figures["bits_per_char"] == pytest.approx(3.5)
    assert figures["loss"] == pytest.approx(math.log(2) * 30 / 11)
    assert figures["perplexity"] == pytest.approx(2 ** (30 / 11))


def test_calibration() -> None:
    """Against a loop over all pairs, most of whose probabilities are near 0."""
    torch.manual_seed(0)
    logits, targets, tally = (
        3 * torch.randn(50, 18),
        torch.randint(0, 18, (50,)),
        ConfusionCounts(18, torch.device("cpu")),
    )
    sums = tally.add(logits, targets)
    found = calibration(tally.scores.numpy(), sums.tolist())
    pairs = [
        (chance, place == target)
        for row, target in zip(logits.softmax(-1).tolist(), targets.tolist(), strict=True)
        for place, chance in enumerate(row)
    ]
    slow = []
    for number in range(ConfusionCounts.BINS):
        inside = [pair for pair in pairs if int(pair[0] * ConfusionCounts.LEVELS) // 10 == number]
        if inside:
            claimed, true = (sum(side) / len(inside) for side in zip(*inside, strict=True))
            slow.append({"claimed": pytest.approx(claimed, rel=1e-5), "true": true, "pairs": len(inside)})
    assert found == slow


@pytest.mark.slow
def test_perplexity_and_bits_agree(speeches: Path) -> None:
    figures = result(speeches)["eval"]
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]))


def test_a_table_has_the_largest_classes() -> None:
    """First, unless the labels are numbers and all have room."""
    assert table_order(["1", "2", "10"], [5, 9, 7], 3) == [0, 1, 2]
    assert table_order(["1", "2", "10"], [5, 9, 7], 2) == [1, 2, 0]
    assert table_order(["a", "b", "c"], [5, 9, 7], 3) == [1, 2, 0]
