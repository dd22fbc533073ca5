"""Every path of the GRU by hidden size, length and padding, against `nn.GRU` on packed rows and on padded ones.

python -m benchmarks.gru [--threads N]
"""

import argparse
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import DEVICE, Report, in_turn, ratio
from launch.seeding import set_numerics
from seq.config import GRUConfig
from seq.models.gru import GRU
from seq.models.gru_paths import PATHS, choose_path

SHAPES = (
    (16, 8, 64, 96, 2),
    (128, 8, 64, 96, 2),
    (16, 64, 64, 384, 1),
    (32, 64, 128, 512, 1),
    (32, 64, 64, 256, 1),
    (32, 512, 64, 256, 1),
)
"""Rows, length, features, hidden size, directions."""
PADDINGS = (0.0, 0.1, 0.3)


def main(threads: int, rounds: int = 5) -> None:
    set_numerics(threads=threads, deterministic=True)  # as in training; cuDNN's default would compute fp32 in TF32
    report = Report(
        "gru",
        f"forward and backward of one layer, {DEVICE.type}, {threads} thread(s): ms, and how many times faster `auto` is",
        [
            "rows x length",
            "H",
            "directions",
            "padding",
            "precision",
            *PATHS,
            "nn.GRU",
            "auto",
            "than packed",
            "than nn.GRU",
        ],
    )
    for rows, length, features, hidden_size, directions in SHAPES:
        for padding in PADDINGS:
            lengths = lengths_with(padding, rows, length)
            for precision in ("fp32", "bf16"):
                variants = _variants(lengths, features, hidden_size, directions, precision)
                seconds = in_turn(variants, rounds)
                auto = choose_path(DEVICE)
                medians = [statistics.median(spent) * 1000 for spent in seconds.values()]
                shape = (f"{rows} x {length}", hidden_size, directions, padding, precision)
                times = [ratio(seconds, other, auto)[1] for other in ("packed", "nn.GRU")]
                report.add(*shape, *medians, auto, *times)
    report.show()


def lengths_with(padding: float, rows: int, length: int) -> torch.Tensor:
    """(rows,) evenly spread lengths up to `length`, of which that share is padding."""
    spread = torch.linspace(length, max(1, length * (1 - 2 * padding)), rows)
    return spread.round().long().clamp(1, length)


def _variants(
    lengths: torch.Tensor, features: int, hidden_size: int, directions: int, precision: str
) -> dict[str, Callable[[], object]]:
    """Our GRU on each path, and a bare `nn.GRU` that computes the padding too."""
    torch.manual_seed(0)
    gru = GRU(features, GRUConfig(hidden_size=hidden_size), bidirectional=directions == 2).to(DEVICE)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    bare = nn.GRU(features, hidden_size, batch_first=True, bidirectional=directions == 2).to(DEVICE, dtype)
    inputs = torch.randn(len(lengths), int(lengths.max()), features, device=DEVICE, requires_grad=True)
    inside = (torch.arange(inputs.shape[1]) < lengths[:, None])[:, :, None].to(DEVICE)

    def ours(path: str) -> Tensor:
        gru.path = path  # type: ignore[assignment]
        with torch.autocast(DEVICE.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            states: Tensor = gru(inputs, lengths)[0]
        return states

    def backward(forward: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: (forward() * inside).sum().backward()  # type: ignore[no-untyped-call]

    variants = {path: backward(partial(ours, path)) for path in PATHS}
    return variants | {"nn.GRU": backward(lambda: bare(inputs.to(dtype))[0])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gru", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    main(parser.parse_args().threads)
