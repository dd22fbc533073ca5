"""Mixed precision: which arithmetic forward and backward use."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `precision`; the backward pass follows what forward did."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def grad_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """fp16 has 5 bits of exponent: the loss is scaled up so that small gradients survive. Off for the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
