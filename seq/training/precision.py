"""Mixed precision: the arithmetic of forward and backward pass."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from launch.context import describe_launch
from launch.seeding import fast_fp32_error, imitates_bf16, set_numerics
from seq.config import Config
from seq.errors import UserError, warn
from seq.models.gru import has_bf16_gru

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
FAST_FP32_LIMIT = 1e-5
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `precision`; the backward pass uses what the forward pass used."""
    if precision not in _DTYPES:
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def grad_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """fp16 has 5 bits of exponent, so the loss is scaled up to keep small gradients. Off for the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def configure_numerics(config: Config, device: torch.device) -> None:
    """Set the arithmetic that the config asks for. UserError if `device`, or this processor, does not have it."""
    train = config.train
    if train.precision == "tf32" and device.type == "cpu":
        raise UserError("train.precision=tf32 needs a GPU; on a CPU use fp32 (with train.fast_fp32) or bf16")
    if train.fast_fp32 and device.type != "cpu":
        raise UserError("train.fast_fp32 is for CPUs; on a GPU use train.precision=tf32 or bf16")
    if train.fast_fp32 and (error := fast_fp32_error()) > FAST_FP32_LIMIT:
        raise UserError(
            f"train.fast_fp32: on this processor its products have a relative error of {error:.1e}, above "
            f"{FAST_FP32_LIMIT:.0e}; leave it out, or use train.precision=bf16"
        )
    if train.precision == "bf16" and not has_bf16_gru(device.type):
        warn(
            "train.precision=bf16: the GRU computes in fp32, because this cuDNN is older than 9.13; install a newer torch"
        )
    if train.precision == "bf16" and device.type == "cpu" and imitates_bf16() and describe_launch().is_main:
        warn("this processor imitates bf16, very slowly; train.precision=fp32 is faster (and another run)")
    run = config.run
    tf32 = train.precision == "tf32"
    set_numerics(threads=run.threads, deterministic=run.deterministic, tf32=tf32, fast_fp32=train.fast_fp32)
