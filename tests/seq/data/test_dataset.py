import numpy as np
import torch

from seq.data.dataset import SequenceDataset
from seq.data.outputs import IGNORE_INDEX
from seq.data.plan import PassRequest, ShardSizes
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.tasks import TASKS

SEQUENCES = RaggedArray(np.array([1, 5, 6, 7, 1, 8], np.uint8), np.array([0, 4, 6]))
ONE, TOKENS = np.array([1, 1]), np.array([3, 1])


def shard(*rows: int, times: int) -> PassRequest:
    return PassRequest(3, range(1, 2), np.array(rows, np.int64), None, ShardSizes(ONE, TOKENS, TOKENS, ONE, (2, times)))


def test_language_model_batch() -> None:
    dataset = SequenceDataset(Split.of(SEQUENCES, None, 0, TASKS["language_modeling"]))
    batch = dataset[shard(1, 0, times=3)]
    assert batch.inputs.tolist() == [[1, 0, 0], [1, 5, 6]]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.targets.tolist() == [[8, IGNORE_INDEX, IGNORE_INDEX], [5, 6, 7]]
    assert (batch.step, batch.shards, batch.num_targets) == (3, range(1, 2), 4)


def test_classifier_batch() -> None:
    dataset = SequenceDataset(Split.of(SEQUENCES, np.array([4, 9], np.int32), 0, TASKS["classification"]))
    batch = dataset[shard(1, 0, times=4)]
    assert batch.inputs.tolist() == [[1, 8, 0, 0], [1, 5, 6, 7]]
    assert (batch.targets.tolist(), batch.num_targets) == ([9, 4], 2)


def test_rows_that_a_shard_lacks_have_no_target() -> None:
    for labels, shape in ((None, (2, 3)), (np.array([0, 1], np.int32), (2,))):
        batch = SequenceDataset(
            Split.of(SEQUENCES, labels, 0, TASKS["language_modeling" if labels is None else "classification"])
        )[shard(-1, -1, times=3)]
        assert (batch.inputs.tolist(), batch.lengths.tolist()) == ([[0, 0, 0]] * 2, [1, 1])
        assert torch.equal(batch.targets, torch.full(shape, IGNORE_INDEX))


def test_shards_of_a_pass_lie_one_after_another_in_one_shape() -> None:
    dataset = SequenceDataset(Split.of(SEQUENCES, np.array([4, 9], np.int32), 0, TASKS["classification"]))
    both = dataset[shard(1, -1, 0, -1, times=5)._replace(numbers=range(2))]
    alone = [dataset[shard(row, -1, times=5)] for row in (1, 0)]
    for name in ("inputs", "lengths", "targets"):
        assert torch.equal(getattr(both, name), torch.cat([getattr(one, name) for one in alone]))
    assert both.targets.tolist() == [9, IGNORE_INDEX, 4, IGNORE_INDEX]
