"""Sampling: many texts together against one alone. python -m benchmarks.generate"""

import argparse
import statistics
from functools import partial

import torch

from benchmarks.timing import Report, in_turn
from seq.config import GenerationConfig, LanguageModelConfig
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens

LENGTH, VOCABULARY = 100, 90


def main() -> None:
    torch.set_num_threads(1)
    report = Report("generate", f"{LENGTH} tokens each, one thread", ["hidden size", "texts", "tokens/s", "times one"])
    for hidden_size in (256, 512):
        model = LanguageModel(LanguageModelConfig(hidden_size=hidden_size), VOCABULARY).eval()
        seconds = in_turn({str(rows): partial(_sample, model, rows) for rows in (1, 16, 64)}, rounds=5)
        rates = {rows: int(rows) * LENGTH / statistics.median(spent) for rows, spent in seconds.items()}
        for rows, rate in rates.items():
            report.add(hidden_size, rows, rate, rate / rates["1"])
    report.show()


def _sample(model: LanguageModel, rows: int) -> None:
    tokens = sample_tokens(
        model,
        torch.tensor([1, 5, 6]),
        GenerationConfig(length=LENGTH),
        torch.Generator().manual_seed(0),
        written=torch.tensor([1]),
        rows=rows,
        forbidden=torch.tensor([0, 1, 2, 3]),
        unit_end=torch.tensor([], dtype=torch.int64),
    )
    for _ in tokens:
        pass


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__).parse_args()
    main()
