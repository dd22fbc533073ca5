"""The training loss: the task's own or the user's, as the config wants it. It is divided once, by the targets of the whole step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seq.config import Config
from seq.config.own_code import own_code
from seq.data.dataset import Batch
from seq.data.ragged import Ints, RaggedArray
from seq.data.split import Split
from seq.errors import UserError
from seq.models.products import aligned
from seq.tasks import Task
from seq.training.precision import Precision, autocast


@dataclass(frozen=True)
class Objective:
    loss: Callable[..., Tensor]
    """`Task.loss`, or the user's own."""
    precision: Precision
    options: dict[str, Any]
    """Options of the loss."""
    is_own: bool = False
    """Whether the loss is the user's."""

    @classmethod
    def of(cls, config: Config, task: Task, train: Split, device: torch.device) -> "Objective":
        options = dict[str, Any]()
        if config.train.class_weights:
            labels = train.targets.values if isinstance(train.targets, RaggedArray) else train.targets
            assert labels is not None
            weights = class_weights(labels, train.outputs.size, config.train.class_weights)
            options["weights"] = weights.to(device)
        if config.train.label_smoothing:
            options["smoothing"] = config.train.label_smoothing
        own = own_code(config, "train.loss")
        return cls(own or task.loss, config.train.precision, options, own is not None)

    def losses(self, model: nn.Module, batch: Batch, hidden: Tensor | None) -> tuple[Tensor, Any]:
        """The part of each shard in the step's loss (S,), and the model's last state. `hidden`: the state to begin with."""
        with autocast(self.precision, batch.inputs.device):
            found = model(**batch.arguments(hidden))
        if not (isinstance(found, tuple) and len(found) == 2):
            raise UserError("model.class: `forward` must return two things, the logits and a state")
        logits, last = found
        # Shard by shard: a sum's order of additions depends on its shape, and some functions round the last numbers of a tensor otherwise.
        size = len(batch.shards)
        shards = list(zip(aligned(logits.reshape(size, -1, *logits.shape[1:])), batch.targets.chunk(size), strict=True))
        if self.is_own and batch.step == 0:
            self._check_sum(*shards[0])
        return torch.stack([self.loss(*own, **self.options) for own in shards]) / batch.num_targets, last

    @torch.no_grad()
    def _check_sum(self, logits: Tensor, targets: Tensor) -> None:
        """UserError if the user's loss is a mean."""
        once = self.loss(logits, targets, **self.options)
        twice = self.loss(torch.cat([logits, logits]), torch.cat([targets, targets]), **self.options)
        if not torch.allclose(2 * once, twice, rtol=1e-2, atol=1e-6) and once.isfinite():
            raise UserError(
                f"train.loss: must be a sum, but twice the rows give {twice.item():.4g} after {once.item():.4g}; it is divided by the "
                "targets of the whole step afterwards"
            )


def class_weights(labels: Ints, classes: int, power: float) -> Tensor:
    """(C,) weights n^-power of classes with n rows (of a tagger: tokens) each, such that the mean weight of a row is 1; 0 for a class
    without rows."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.where(counts > 0, counts.clip(min=1) ** -power, 0.0)
    return torch.from_numpy(weights * counts.sum() / (counts * weights).sum()).float()
