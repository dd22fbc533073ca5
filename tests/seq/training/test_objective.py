import torch

from seq.data.dataset import IGNORE_INDEX
from seq.training.objective import loss_sum


def test_loss_is_the_sum_over_real_targets() -> None:
    logits = torch.randn(2, 3, 4, requires_grad=True)
    targets = torch.tensor([[1, IGNORE_INDEX, 3], [IGNORE_INDEX] * 3])
    expected = -sum(logits[0, time].log_softmax(-1)[targets[0, time]] for time in (0, 2))
    torch.testing.assert_close(loss_sum(logits, targets), expected)
    empty = loss_sum(logits, torch.full_like(targets, IGNORE_INDEX))
    torch.autograd.backward(empty)
    assert empty.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
