"""Out of memory, early and with advice: the largest batch of the plan comes first, and a batch that does not fit is
named."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seq.config import Config
from seq.data.dataset import Batch, SequenceDataset
from seq.data.sampler import ShardSampler
from seq.errors import RunError
from seq.models.build import Model
from seq.training.objective import loss_sum
from seq.training.precision import autocast


def warm_up_largest(
    model: Model, dataset: SequenceDataset, sampler: ShardSampler, config: Config, device: torch.device
) -> None:
    """Forward and backward on the largest shard of the plan, as a trial: nothing of it stays but reserved memory."""
    batch = dataset[sampler.largest_shard()].to(device)
    with naming_what_does_not_fit(batch):
        with autocast(config.train.precision, device):
            logits, _ = model(**batch.arguments())
        loss_sum(logits, batch.targets).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()


@contextmanager
def naming_what_does_not_fit(batch: Batch) -> Iterator[None]:
    """RunError that names the shard if there is no memory for it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not _is_out_of_memory(error):
            raise
        rows, steps = batch.inputs.shape
        raise RunError(
            f"out of memory on {batch.inputs.device} in shard {batch.shard} of step {batch.step + 1}: {rows} rows x "
            f"{steps} time steps; lower batch.tokens (to less than {rows * steps}) or batch.rows, or for long sequences "
            f"data.max_length ({' '.join(str(error).split())[:120]})"
        ) from None


def _is_out_of_memory(error: Exception) -> bool:
    cpu = "can't allocate memory"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or cpu in str(error)
