"""The loss, as a sum: it is divided once, by the targets of the whole step."""

from torch import Tensor
from torch.nn import functional

from seq.data.dataset import IGNORE_INDEX


def loss_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over all targets but IGNORE_INDEX, in fp32 at least.

    `logits` (..., C), `targets` (...). Without any target it is 0, and so are its gradients.
    """
    wide = logits.double() if logits.dtype.itemsize == 8 else logits.float()
    return functional.cross_entropy(wide.flatten(0, -2), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
