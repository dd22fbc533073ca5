"""Planning for very many sequences and ranks (simulated): time, memory, padding and imbalance. And how well a small data set whose
lengths are all different is shuffled.

python -m benchmarks.plan [--sequences 1e9] [--ranks 1024]
"""

import argparse
import resource
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import Report
from seq.config import BatchConfig
from seq.data.order import LengthOrder
from seq.data.sampler import BucketedDistributedSampler

LONGEST, STEPS = 512, 100
EPOCHS, ROWS = 20, 16


class Identity:
    """Stands for a mapped order file in which position i holds sequence i."""

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return places


class Virtual:
    """A data set with only what the sampler reads."""

    def __init__(self, sequences: int) -> None:
        lengths = np.arange(LONGEST, 0, -1)
        # Log-normal lengths around 60, as sentences and names have them.
        share = np.exp(-((np.log(lengths) - np.log(60)) ** 2) / 2 / 0.6**2) / lengths
        counts = np.floor(share / share.sum() * sequences).astype(np.int64)
        counts[-1] += sequences - counts.sum()
        self.by_length = LengthOrder(lengths[:, None], np.concatenate(([0], np.cumsum(counts))), Identity())  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.by_length)


def main(sequences: int, ranks: int) -> None:
    memory = _peak_megabytes()
    begin = time.perf_counter()
    batch = BatchConfig(shards=ranks, tokens=8192, rows=512)
    dataset = Virtual(sequences)
    sampler = BucketedDistributedSampler(dataset, batch, num_replicas=ranks, rank=ranks // 2)  # type: ignore[arg-type]
    shards = iter(sampler)
    next(shards)
    first = time.perf_counter() - begin
    spent, padding, imbalance = [], [], []
    for step in np.random.default_rng(0).integers(0, len(sampler.plan), STEPS):
        begin = time.perf_counter()
        (shard,) = sampler.shards(range(int(step), int(step) + 1), [range(1)])
        sizes = shard.sizes
        spent.append(time.perf_counter() - begin)
        padding.append(1 - sizes.tokens.mean() / sizes.padded_tokens)
        imbalance.append(sizes.tokens.max() / sizes.tokens.mean() - 1)
    report = Report("plan", f"{sequences:,} sequences, {ranks} ranks of one shard (simulated)", ["figure", "value"])
    report.add("steps an epoch", len(sampler.plan))
    report.add("first batch after, s", first)
    report.add("a step's plan on one rank, ms (median)", statistics.median(spent) * 1000)
    report.add("memory for it, MB", _peak_megabytes() - memory)
    report.add("padding, mean", float(np.mean(padding)))
    report.add("imbalance, mean", float(np.mean(imbalance)))
    report.show()
    shuffling()


def shuffling() -> None:
    """Steps that come again with the same rows, and pairs of rows that meet in a step, against a plain shuffle."""
    report = Report(
        "shuffling",
        f"{EPOCHS} epochs of steps of {4 * ROWS} rows",
        ["rows", "lengths", "steps that come again", "pairs that meet", "in a plain shuffle", "padding"],
    )
    random = np.random.default_rng(0)
    for rows, shortest, longest in ((300, 20, 200), (1000, 20, 400), (3000, 3, 12)):
        lengths = random.integers(shortest, longest + 1, rows)
        dataset = Lengths(lengths)
        batch = BatchConfig(shards=4, tokens=ROWS * longest, rows=ROWS)
        sampler = BucketedDistributedSampler(dataset, batch, num_replicas=1, rank=0)  # type: ignore[arg-type]
        steps, padded = list[list[int]](), 0
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            for shard in sampler:
                steps += [[]] if shard.numbers[0] == 0 else []
                steps[-1] += shard.sequences[shard.sequences >= 0].tolist()
                padded += shard.sizes.padded_tokens
        plain = [
            part.tolist()
            for _ in range(EPOCHS)
            for part in np.split(random.permutation(rows), range(4 * ROWS, rows, 4 * ROWS))
        ]
        again = 1 - len(set(map(frozenset, steps))) / len(steps)
        meeting = [_share_of_pairs(found, rows) for found in (steps, plain)]
        report.add(rows, f"{shortest} to {longest}", again, *meeting, 1 - EPOCHS * int(lengths.sum()) / padded)
    report.show()


def _share_of_pairs(steps: list[list[int]], rows: int) -> float:
    met = np.zeros((rows, rows), bool)
    for step in steps:
        met[np.ix_(step, step)] = True
    return float((met.sum() - rows) / (rows * (rows - 1)))


class Lengths:
    """A data set with only what the sampler reads."""

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.by_length = LengthOrder.of(lengths)

    def __len__(self) -> int:
        return len(self.by_length)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__)
    parser.add_argument("--sequences", type=float, default=1e9)
    parser.add_argument("--ranks", type=int, default=1024)
    options = parser.parse_args()
    main(int(options.sequences), options.ranks)
