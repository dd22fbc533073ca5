import numpy as np
import pytest
import torch

from seq.data.dataset import Batch
from seq.data.plan import ShardSizes
from seq.errors import RunError
from seq.training.memory import out_of_memory_as_run_error


def batch_of(rows: int, times: int, shards: range) -> Batch:
    each, counts = torch.ones(rows), np.ones(8, np.int64)
    sizes = ShardSizes(counts, counts, counts, counts, (rows // len(shards), times))
    return Batch(torch.zeros(rows, times), each, each, 6, shards, rows, sizes, np.arange(rows))


def test_memory_that_is_not_there() -> None:
    batch = batch_of(300, 40, range(2, 3))
    with pytest.raises(RunError) as raised, out_of_memory_as_run_error(batch):
        torch.empty(1 << 50)
    for text in ("on cpu in shard 2 of step 7", "300 rows x 40 time steps", "batch.tokens (to less than 12000)"):
        assert text in str(raised.value)
    for text in (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: out of memory",
    ):
        with pytest.raises(RunError, match="lower batch"), out_of_memory_as_run_error(batch):
            raise RuntimeError(text)
    several = batch_of(300, 40, range(4, 8))
    advice = "in shards 4 to 7 of step 7: 300 rows x 40 time steps; lower run.pass_tokens, which changes no bit"
    with pytest.raises(RunError, match=advice), out_of_memory_as_run_error(several):
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), out_of_memory_as_run_error(batch):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
