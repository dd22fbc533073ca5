"""Stateful order: every token once, in the order of the text, whatever the ranks."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.config import BatchConfig
from seq.data.dataset import Batch, SequenceDataset
from seq.data.ragged import RaggedArray
from seq.data.sampler import StatefulDistributedSampler
from seq.data.split import Split
from seq.tasks import TASKS

Lengths = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def make_dataset(lengths: list[int]) -> SequenceDataset:
    """Documents of so many targets; every token is a number of its own."""
    offsets = np.concatenate(([0], np.cumsum(np.array(lengths) + 1)))
    return SequenceDataset(
        Split.of(RaggedArray(np.arange(1, offsets[-1] + 1), offsets), None, 0, TASKS["language_modeling"])
    )


def batches(
    dataset: SequenceDataset, batch: BatchConfig, world_size: int = 1, epoch: int = 0, start: int = 0
) -> list[Batch]:
    """Of all ranks, by step and shard."""
    found = []
    for rank in range(world_size):
        sampler = StatefulDistributedSampler(dataset, batch, num_replicas=world_size, rank=rank, seed=3)
        sampler.seek(epoch * sampler.steps_per_epoch + start)
        own = [dataset[shard] for shard in sampler]
        assert len(own) == len(sampler)
        found += own
    return sorted(found, key=lambda one: (one.step, one.shards[0]))


@given(Lengths, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 9), st.integers(0, 2))
def test_a_document_is_one_example(lengths: list[int], shards: int, rows: int, window: int, epoch: int) -> None:
    """It counts where it begins, however many windows it has."""
    batch = BatchConfig(order="stateful", shards=shards, rows=rows, bptt=window)
    found = batches(make_dataset(lengths), batch, epoch=epoch)
    assert sum(int(one.sizes.examples.sum()) for one in found if one.shards[0] == 0) == len(lengths)


@given(Lengths, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 9), st.integers(0, 2))
def test_lanes_read_the_text_exactly_once(lengths: list[int], shards: int, rows: int, window: int, epoch: int) -> None:
    """Followed lane by lane, targets are the documents' tokens; a row that continues goes on where its lane was."""
    dataset = make_dataset(lengths)
    batch = BatchConfig(order="stateful", shards=shards, rows=rows, bptt=window)
    seen: list[int] = []
    lanes: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0])
    for one in batches(dataset, batch, epoch=epoch):
        assert one.continues is not None
        assert one.inputs.shape[0] == rows
        for row in range(rows):
            targets = [token for token in one.targets[row].tolist() if token >= 0]
            assert len(targets) <= window
            inputs = one.inputs[row, : len(targets)].tolist()
            assert targets == [token + 1 for token in inputs]
            before = lanes[one.shards[0], row][-1]
            if targets:
                # Goes on exactly where a lane may: in the same document, and not at the beginning of an epoch.
                begins = inputs[0] - 1 in dataset.sequences.offsets
                assert bool(one.continues[row]) == (before == inputs[0] and not begins)
                lanes[one.shards[0], row] += targets
                assert one.preceding is not None
                document = int(dataset.sequences.offsets.searchsorted(inputs[0], side="right")) - 1
                first = int(dataset.sequences.offsets[document])  # tokens are 1 more than their place
                wanted = range(max(first + 1, inputs[0] - 7), inputs[0])
                assert one.preceding[row].tolist() == [0] * (7 - len(wanted)) + list(wanted)
            seen += targets
        assert one.num_targets == one.sizes.tokens.sum()
        assert one.sizes.tokens[one.shards[0]] == (one.targets >= 0).sum()
        assert one.sizes.padded_tokens == one.inputs.numel()
    assert sorted(seen) == sorted(
        set(range(1, sum(lengths) + len(lengths) + 1)) - set(1 + dataset.sequences.offsets[:-1])
    )


def test_the_same_at_every_world_size_and_from_any_step() -> None:
    dataset = make_dataset([40, 7, 90, 3])
    batch = BatchConfig(order="stateful", shards=4, rows=2, bptt=5, fresh_state=0.5)
    texts = [read(batches(dataset, batch, world_size, epoch=1)) for world_size in (1, 2, 4)]
    assert texts[0] == texts[1] == texts[2]
    assert read(batches(dataset, batch, epoch=1, start=2)) == texts[0][2 * 4 :]
    assert [one[2] for one in read(batches(dataset, batch, epoch=2))] != [one[2] for one in texts[0]]


def read(found: list[Batch]) -> list[tuple[int, int, list[list[int]], list[bool]]]:
    rows = []
    for one in found:
        assert one.continues is not None
        rows.append((one.step, one.shards[0], one.inputs.tolist(), one.continues.tolist()))
    return rows


def test_a_share_of_the_segments_begins_with_a_fresh_state() -> None:
    """Others than these go on as without it, and the text is the same."""
    dataset = make_dataset([4000, 4000])
    shares = []
    for fresh in (0.0, 0.2, 1.0):
        found = read(batches(dataset, BatchConfig(order="stateful", rows=2, bptt=5, fresh_state=fresh)))
        plain = read(batches(dataset, BatchConfig(order="stateful", rows=2, bptt=5)))
        assert [one[:3] for one in found] == [one[:3] for one in plain]
        goes_on, could = (np.array([one[3] for one in every]) for every in (found, plain))
        assert not (goes_on & ~could).any()
        shares.append(1 - goes_on.sum() / could.sum())
    assert shares[0] == 0
    assert abs(shares[1] - 0.2) < 0.04  # of 1,590: four standard deviations
    assert shares[2] == 1


def test_no_more_ranks_than_shards_in_stream_order() -> None:
    with pytest.raises(ValueError, match="world size 5 is more than 4 shards"):
        StatefulDistributedSampler(make_dataset([5]), BatchConfig(order="stateful"), num_replicas=5, rank=0)
