"""How near a run is to what its hardware can do, and how long its processes wait for each other (docs/performance.md, "The floor")."""

import time
from typing import Any

import torch
from torch import Tensor

from launch.collectives import gather_over_ranks
from launch.device import is_gpu, module_of
from seq.models import Classifier, Model, row_tables
from seq.run.run import Run
from seq.training.precision import autocast

SIZE = {"cpu": 512, "gpu": 4096}
"""Rows and columns of the product that is timed."""
SECONDS = 0.05
"""It is repeated for so long."""


def measure_floor(run: Run, model: Model, tokens_seen: int) -> dict[str, Any]:
    """Return figures of this start; every rank calls it. `floor_share`: the time of the step's products, at the rate of one large product, as
    a share of the time that the step computed. `waiting_seconds`: by rank, how long it waited for gradients of others."""
    tokens, compute, waiting = run.ledger.since_start(tokens_seen)
    own = torch.tensor([waiting, flops_per_second(run)], dtype=torch.float64, device=run.device)
    seconds, rates = gather_over_ranks(own).T.tolist()
    share = tokens * flops_per_token(model) / sum(rates) / compute if compute else 0.0
    return {"floor_share": round(share, 4), "waiting_seconds": [round(each, 3) for each in seconds]}


def flops_per_token(model: Model) -> int:
    """Count the operations of forward and backward pass in products: 6 for each weight that a token meets. A classifier's output layer meets
    whole rows."""
    tables = row_tables(model)
    matrices = {name: weight for name, weight in model.named_parameters(remove_duplicate=False) if weight.dim() == 2}
    met = [name for name in matrices if name not in tables and "embedding" not in name]
    met = [name for name in met if not (isinstance(model, Classifier) and name == "output.weight")]
    return 6 * sum(matrices[name].numel() for name in met)


def flops_per_second(run: Run) -> float:
    """Time a large product in the run's precision, on all ranks at once. The fastest of some counts."""
    size = SIZE["gpu" if is_gpu(run.device) else "cpu"]
    left, right = (torch.ones(size, size, device=run.device) for _ in range(2))
    times = [_seconds(run, left, right)]
    while sum(times) < SECONDS:
        times.append(_seconds(run, left, right))
    return 2 * size**3 / min(times)


def _seconds(run: Run, left: Tensor, right: Tensor) -> float:
    begin = time.perf_counter()
    with torch.no_grad(), autocast(run.config.train.precision, run.device):
        torch.mm(left, right)
    if is_gpu(run.device):
        module_of(run.device).synchronize(run.device)
    return time.perf_counter() - begin
