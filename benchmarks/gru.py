"""Every path of the GRU by hidden size, length and padding, against `nn.GRU` on packed rows.

python -m benchmarks.gru [--threads N]
"""

import argparse
import statistics
from collections.abc import Callable
from contextlib import nullcontext

import torch

from benchmarks.timing import DEVICE, Report, in_turn, ratio
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
    torch.set_num_threads(threads)
    report = Report(
        "gru",
        f"forward and backward of one layer, {DEVICE.type}, {threads} thread(s): ms, and times faster than packed nn.GRU",
        ["rows x length", "H", "directions", "padding", "precision", *PATHS, "auto is", "auto, times faster"],
    )
    for rows, length, features, hidden_size, directions in SHAPES:
        for padding in PADDINGS:
            lengths = lengths_with(padding, rows, length)
            for precision in ("fp32", "bf16"):
                variants = _variants(lengths, features, hidden_size, directions, precision)
                seconds = in_turn(variants, rounds)
                auto = choose_path(DEVICE)
                medians = [statistics.median(seconds[path]) * 1000 for path in PATHS]
                shape = (f"{rows} x {length}", hidden_size, directions, padding, precision)
                report.add(*shape, *medians, auto, ratio(seconds, "packed", auto)[1])
    report.show()


def lengths_with(padding: float, rows: int, length: int) -> torch.Tensor:
    """(rows,) evenly spread lengths up to `length`, of which that share is padding."""
    spread = torch.linspace(length, max(1, length * (1 - 2 * padding)), rows)
    return spread.round().long().clamp(1, length)


def _variants(
    lengths: torch.Tensor, features: int, hidden_size: int, directions: int, precision: str
) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    gru = GRU(features, GRUConfig(hidden_size=hidden_size), bidirectional=directions == 2).to(DEVICE)
    inputs = torch.randn(len(lengths), int(lengths.max()), features, device=DEVICE, requires_grad=True)
    inside = (torch.arange(inputs.shape[1]) < lengths[:, None])[:, :, None].to(DEVICE)

    def run(path: str) -> Callable[[], object]:
        def both() -> None:
            low = torch.autocast(DEVICE.type, torch.bfloat16) if precision == "bf16" else nullcontext()
            with low:
                gru.path = path  # type: ignore[assignment]
                states, _ = gru(inputs, lengths)
            (states * inside).sum().backward()

        return both

    return {path: run(path) for path in PATHS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gru", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    main(parser.parse_args().threads)
