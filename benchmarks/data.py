"""Building a batch: one gather from the flat arrays, against the lecture's loop over sequences.

python -m benchmarks.data [CONFIG] [section.key=value ...]
"""

import statistics
import sys

import torch
from torch import Tensor

from benchmarks.timing import Report, in_turn, ratio
from seq.command_line import config_from, config_parser, exit_code
from seq.config import BatchConfig
from seq.data.corpus import prepare_corpus
from seq.data.dataset import SequenceDataset
from seq.data.sampler import BucketedDistributedSampler

BATCHES, ROUNDS = 20, 9


def main(arguments: list[str]) -> None:
    config = config_from(config_parser("benchmarks.data", __doc__).parse_args(arguments).words)
    corpus = prepare_corpus(config.data, config.task)
    dataset = SequenceDataset(corpus.splits["train"])
    columns = ["data", "rows a batch", "loop, us", "gather, us", "times faster"]
    report = Report("data", "building a batch", columns)
    for rows in (64, 256, 1024):
        _add(report, config.run.name, dataset, rows)
    report.show()


def _add(report: Report, name: str, dataset: SequenceDataset, rows: int) -> None:
    """Seconds for the same batches, loop and gather in turn."""
    # Batches as the plan makes them: rows of nearly one length.
    batch = BatchConfig(shards=1, tokens=2**62, rows=rows)
    sampler = BucketedDistributedSampler(dataset, batch, num_replicas=1, rank=0)
    chosen = [shard.sequences for _, shard in zip(range(BATCHES), sampler, strict=False)]
    flat = dataset.sequences
    bounds = zip(flat.offsets[:-1], flat.offsets[1:], strict=True)
    sequences = [flat.values[start:stop].tolist() for start, stop in bounds]
    as_lists = [[sequences[row] for row in rows_] for rows_ in chosen]
    variants = {
        "loop": lambda: [lecture_loop(batch_) for batch_ in as_lists],
        "gather": lambda: [torch.from_numpy(flat.pad(rows_)[0]) for rows_ in chosen],
    }
    seconds = in_turn(variants, ROUNDS)
    loop, gather = (statistics.median(seconds[name]) / len(chosen) * 1e6 for name in variants)
    report.add(name, rows, loop, gather, ratio(seconds, "loop", "gather")[1])


def lecture_loop(sequences: list[list[int]]) -> Tensor:
    """Zero padding as the lecture does it, sequence by sequence."""
    lengths = torch.LongTensor([len(sequence) for sequence in sequences])
    padded = torch.zeros((len(sequences), int(lengths.max()))).long()
    for index, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        padded[index, :length] = torch.LongTensor(sequence)
    return padded


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
