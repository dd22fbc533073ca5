"""The update of a step, decided for dense parameters and tables together."""

from pathlib import Path

import pytest
import torch

from launch.context import describe_launch
from launch.group import process_group
from seq.config import Config
from seq.config.read import parse_config
from seq.data.corpus import prepare_corpus
from seq.data.loader import BatchLoader
from seq.tasks import task_of
from seq.training.step import Trainer
from tests.corpora import write_rows


@pytest.fixture
def config(tmp_path: Path) -> Config:
    files = {"train": str(write_rows(tmp_path, "csv"))}
    data = {"source": "csv", "files": files, "text": "name", "label": "origin", "validation_fraction": 0.4}
    model = {"kind": "classifier", "ngrams": 2, "ngram_buckets": 50}
    return parse_config({"data": data, "model": model}, where="test")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_a_table_overflows(config: Config, precision: str) -> None:
    """Nothing changes, and fp16 lowers its scale."""
    config = config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})
    with process_group(describe_launch(), timeout_seconds=60) as device:
        corpus = prepare_corpus(config.data, task_of(config))
        trainer = Trainer(config, task_of(config), corpus, device)
        losses = trainer.accumulate_gradients(next(BatchLoader(corpus.splits["train"], config.batch).steps(0, 1)))
        rows, values = trainer.row_gradients["ngrams.table.weight"]
        trainer.row_gradients["ngrams.table.weight"] = (rows, values.index_fill(0, torch.tensor([0]), torch.inf))
        before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        scale = trainer.state.scaler.get_scale()
        assert trainer.update(losses).bad
        assert all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())
        assert trainer.state.scaler.get_scale() == (scale / 2 if precision == "fp16" else scale)
        trainer.close()
        del trainer
