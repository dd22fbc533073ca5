"""The loss, as a sum over targets. It is divided once, by the targets of the whole step."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from seq.data.dataset import IGNORE_INDEX, Batch
from seq.training.precision import Precision, autocast


def shard_loss(model: nn.Module, batch: Batch, hidden: Tensor | None, precision: Precision) -> tuple[Tensor, Any]:
    """The shard's part of the step's loss, and the model's last state. `hidden`: the state to begin with."""
    with autocast(precision, batch.inputs.device):
        logits, last = model(**batch.arguments(hidden))
    return loss_sum(logits, batch.targets) / batch.num_targets, last


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over all targets but IGNORE_INDEX, in fp32 or wider.

    `logits` (..., C), `targets` (...). Without any target the sum is 0, and so are its gradients.
    """
    wide = logits.double() if logits.dtype.itemsize == 8 else logits.float()
    return functional.cross_entropy(wide.flatten(0, -2), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
