"""Evaluate a split: every example exactly once, and the same figures to the last bit at every world size."""

from collections.abc import Iterable

import numpy as np
import torch

from launch.collectives import concatenate_over_ranks, sum_over_ranks
from seq.config import Config
from seq.data.dataset import Batch
from seq.data.loader import BatchLoader
from seq.data.split import Split
from seq.models import Model
from seq.tasks import Evaluation, Task
from seq.tasks.task import TOKENS
from seq.terminal import progress_bar
from seq.training.precision import autocast

ROWS = 256
"""Maximum number of rows in a shard. If rows are read in chunks, their length does not matter."""


@torch.inference_mode()
def evaluate(
    task: Task, model: Model, split: Split, config: Config, device: torch.device, *, progress: bool = False
) -> Evaluation:
    """Called by every rank; every rank gets the result. `progress`: show it on this rank's terminal.

    Each shard's sums have their own places in a table, and a rank leaves the places of the others at 0. So the sum over ranks is
    exact, and the sum of the table does not depend on which rank computed what.
    """
    evaluator = task.evaluator(split, config, device)
    tokens = ROWS * int(split.by_length.length.max()) if evaluator.in_chunks else TOKENS
    size = {"order": "bucketed", "rows": ROWS, "tokens": tokens}
    batches = BatchLoader(split, config.batch.model_copy(update=size), shuffle=False)
    table = torch.zeros(
        evaluator.sums, batches.steps_per_epoch, config.batch.shards, dtype=torch.float64, device=device
    )
    model.eval()
    steps: Iterable[list[Batch]] = batches.steps(0, batches.steps_per_epoch)
    if progress:
        steps = progress_bar(steps, f"evaluating {len(split):,} sequences", total=batches.steps_per_epoch)
    for batch in (shard.to(device) for passes in steps for shard in passes):
        with autocast(config.train.precision, device):
            table[:, batch.step, batch.shards.start] = evaluator.add(model, batch)
    model.train()
    counts = [sum_over_ranks(count).cpu().numpy() for count in evaluator.counts]
    empty = torch.zeros(0, dtype=torch.int64, device=device)
    counts += [concatenate_over_ranks(torch.cat([empty, *each])).cpu().numpy() for each in evaluator.lists]
    sums = [float(np.sum(part)) for part in sum_over_ranks(table).cpu().numpy()]
    return evaluator.result(sums, counts)
