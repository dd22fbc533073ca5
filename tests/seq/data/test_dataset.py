import numpy as np
import torch

from seq.data.dataset import SequenceDataset
from seq.data.outputs import IGNORE_INDEX
from seq.data.plan import Shard, ShardSizes
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.tasks import TASKS

SEQUENCES = RaggedArray(np.array([1, 5, 6, 7, 1, 8], np.uint8), np.array([0, 4, 6]))
ONE, TOKENS = np.array([1, 1]), np.array([3, 1])
PIECES = ShardSizes(ONE, TOKENS, TOKENS, TOKENS, ONE)


def shard(*rows: int) -> Shard:
    return Shard(3, 1, np.array(rows, np.int64), None, PIECES)


def test_language_model_batch() -> None:
    dataset = SequenceDataset(Split.of(SEQUENCES, None, 0, TASKS["language_modeling"]))
    batch = dataset[shard(1, 0)]
    assert batch.inputs.tolist() == [[1, 0, 0], [1, 5, 6]]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.targets.tolist() == [[8, IGNORE_INDEX, IGNORE_INDEX], [5, 6, 7]]
    assert (batch.step, batch.shard, batch.num_targets) == (3, 1, 4)


def test_classifier_batch() -> None:
    dataset = SequenceDataset(Split.of(SEQUENCES, np.array([4, 9], np.int32), 0, TASKS["classification"]))
    batch = dataset[shard(1, 0)]
    assert batch.inputs.tolist() == [[1, 8, 0, 0], [1, 5, 6, 7]]
    assert (batch.targets.tolist(), batch.num_targets) == ([9, 4], 2)


def test_an_empty_shard_is_a_row_without_a_target() -> None:
    for labels, shape in ((None, (1, 1)), (np.array([0, 1], np.int32), (1,))):
        batch = SequenceDataset(
            Split.of(SEQUENCES, labels, 0, TASKS["language_modeling" if labels is None else "classification"])
        )[shard()]
        assert (batch.inputs.tolist(), batch.lengths.tolist()) == ([[0]], [1])
        assert torch.equal(batch.targets, torch.full(shape, IGNORE_INDEX))
