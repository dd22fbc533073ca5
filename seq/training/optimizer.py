"""AdamW, and the learning rate as a function of the step."""

import math

import torch
from torch import nn

from seq.config import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Matrices have weight decay, vectors (biases) have none. Fused: one kernel for all parameters, on CPU and CUDA."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def lr_at(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of `step` (0 to total_steps - 1): linear warm-up, then the schedule. A pure function, so no schedule
    state is saved."""
    warmup = min(config.warmup_steps, total_steps // 2)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    # 0 at the end of warm-up, 1 at the last step.
    progress = (step - warmup) / max(1, total_steps - 1 - warmup)
    falling = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 4 * (1 - progress)
    height = min(1.0, falling)
    return config.lr * (config.final_lr + (1 - config.final_lr) * height)
