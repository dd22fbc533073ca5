"""Figures of this machine: python -m seq.benchmark data | sync [CONFIG] [section.key=value ...]

data     gathering a batch from the flat arrays against the lecture's loop over sequences
    sync     a step with the ordered reduction against plain all-reduce, two processes
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seq.command_line import config_and_overrides, exit_code
from seq.config import BatchConfig
from seq.config_file import load_config
from seq.data.corpus import prepare_corpus
from seq.data.dataset import SequenceDataset
from seq.data.sampler import BucketedDistributedSampler

REPEATS = 30


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m seq.benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("data", "sync"))
    parser.add_argument("words", nargs="*", metavar="CONFIG | section.key=value", help="default: configs/names.yaml")
    options = parser.parse_intermixed_args(arguments)
    if options.what == "sync":
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        return subprocess.run(
            [sys.executable, *launcher, "-m", "seq.benchmark_sync", *options.words], check=False
        ).returncode
    config = load_config(*config_and_overrides(options.words))
    corpus = prepare_corpus(config.data, labelled=config.model.kind == "classifier")
    dataset = SequenceDataset(corpus.splits["train"])
    table = Table("rows a batch", "loop, us", "gather, us", "times faster", title=f"batches of {config.run.name}")
    for rows in (64, 256, 1024):
        loop, gather = compare(dataset, rows)
        table.add_row(str(rows), f"{loop * 1e6:,.0f}", f"{gather * 1e6:,.0f}", f"{loop / gather:.0f}")
    Console().print(table)
    return 0


def compare(dataset: SequenceDataset, rows: int) -> tuple[float, float]:
    """Median seconds for the same batches, loop and gather in turn."""
    # Batches as the plan makes them: rows of nearly one length.
    batch = BatchConfig(shards=1, tokens=2**62, rows=rows)
    sampler = BucketedDistributedSampler(dataset, batch, num_replicas=1, rank=0)
    chosen = [shard.sequences for _, shard in zip(range(REPEATS), sampler, strict=False)]
    flat = dataset.sequences
    bounds = zip(flat.offsets[:-1], flat.offsets[1:], strict=True)
    sequences = [flat.values[start:stop].tolist() for start, stop in bounds]
    times = [
        (
            seconds(lecture_loop, [sequences[row] for row in rows_]),
            seconds(lambda rows_: torch.from_numpy(flat.pad(rows_)[0]), rows_),
        )
        for rows_ in chosen
    ]
    loop, gather = zip(*times, strict=True)
    return statistics.median(loop), statistics.median(gather)


def lecture_loop(sequences: list[list[int]]) -> Tensor:
    """Zero padding as the lecture does it, sequence by sequence."""
    lengths = torch.LongTensor([len(sequence) for sequence in sequences])
    padded = torch.zeros((len(sequences), int(lengths.max()))).long()
    for index, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        padded[index, :length] = torch.LongTensor(sequence)
    return padded


def seconds(function: Callable[[Any], object], argument: Any) -> float:
    begin = time.perf_counter()
    function(argument)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
