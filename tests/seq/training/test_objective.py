import numpy as np
import pytest
import torch

from seq.data.outputs import IGNORE_INDEX
from seq.tasks.losses import cross_entropy
from seq.training.objective import class_weights


def test_loss_is_the_sum_over_real_targets() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    targets = torch.tensor([[1, IGNORE_INDEX, 3], [IGNORE_INDEX] * 3])
    expected = -sum(logits[0, time].log_softmax(-1)[targets[0, time]] for time in (0, 2))
    torch.testing.assert_close(cross_entropy(logits, targets), expected)
    empty = cross_entropy(logits, torch.full_like(targets, IGNORE_INDEX))
    torch.autograd.backward(empty)
    assert empty.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_class_weights() -> None:
    """The mean weight of a row is 1; with power 1 all classes weigh alike together; a label without rows does no harm."""
    labels = np.array([0] * 90 + [1] * 9 + [2])
    torch.testing.assert_close(class_weights(labels, 3, 0.0), torch.ones(3))
    for power in (0.5, 1.0):
        weights = class_weights(labels, 4, power)
        assert weights is not None
        counts = torch.tensor([90.0, 9.0, 1.0])
        assert (counts * weights[:3]).sum() / counts.sum() == pytest.approx(1)
        assert torch.allclose(weights[:3] / weights[0], (90 / counts) ** power)
        assert weights[3] == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_row_counts_its_weight(smoothing: float) -> None:
    """And nothing else: weight times the smoothed loss, row by row."""
    logits, targets = torch.randn(6, 3), torch.tensor([0, 2, 1, IGNORE_INDEX, 2, 0])
    weights = torch.tensor([0.5, 1.0, 5.0])
    slow = torch.zeros(())
    for row, target in zip(logits, targets, strict=True):
        if target >= 0:
            wanted = torch.full((3,), smoothing / 3)
            wanted[target] += 1 - smoothing
            slow -= weights[target] * (wanted * row.log_softmax(0)).sum()
    torch.testing.assert_close(cross_entropy(logits, targets, weights, smoothing), slow)


def test_weighted_loss_is_that_of_a_slow_loop() -> None:
    logits, targets, weights = (
        torch.randn(5, 3),
        torch.tensor([0, 2, 1, IGNORE_INDEX, 2]),
        torch.tensor([1.0, 2.0, 0.5]),
    )
    slow = sum(
        -weights[target] * row.log_softmax(0)[target]
        for row, target in zip(logits, targets, strict=True)
        if target >= 0
    )
    torch.testing.assert_close(cross_entropy(logits, targets, weights), slow)
