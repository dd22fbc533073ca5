"""Evaluation is exact at any world size, and equal to a slow loop over single sequences."""

from pathlib import Path

import numpy as np
import pytest
import torch

from seq.config.read import override_config
from seq.data.outputs import Outputs
from seq.data.ragged import RaggedArray
from seq.data.split import Split
from seq.models import build_model
from seq.tasks import TASKS, language_modeling, task_of
from seq.tasks.losses import cross_entropy
from seq.training import evaluation
from tests.helpers import run_ranks
from tests.seq.training.test_step import make_config

ROWS, WINDOW = 37, 3


def make_split(kind: str) -> Split:
    random = np.random.default_rng(1)
    offsets = np.concatenate(([0], np.cumsum(random.integers(2, 12, ROWS))))
    labels = random.integers(0, 3, ROWS) if kind == "classifier" else None
    return Split.of(
        RaggedArray(random.integers(1, 11, offsets[-1]), offsets),
        labels,
        200,
        TASKS["classification" if kind == "classifier" else "language_modeling"],
        Outputs(labels=tuple("abc") if kind == "classifier" else ()),
    )


def record(rank: int, kind: str, file: str, window: int = WINDOW, unit: str = "document") -> None:
    config = make_config(kind, 4)
    model = build_model(config, vocab_size=11, num_outputs=3)
    config = override_config(config, [f"evaluation.window={window}", f"data.unit={unit}"], where="test")
    language_modeling.CHUNK = 4  # several to a row
    result = evaluation.evaluate(task_of(config), model, make_split(kind), config, torch.device("cpu"))
    assert model.training
    if rank == 0:
        torch.save((result.figures, result.confusion is not None and result.confusion.dense().tolist()), file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "language_model"])
def test_exact_at_every_world_size(tmp_path: Path, kind: str) -> None:
    results = []
    for world_size in (1, 2, 4):
        run_ranks(record, world_size, tmp_path, kind, str(tmp_path / f"{world_size}.pt"))
        results.append(torch.load(tmp_path / f"{world_size}.pt"))
    # To the last bit, not nearly.
    assert results[0] == results[1] == results[2]
    figures, confusion = results[0]
    split, model = make_split(kind), build_model(make_config(kind, 4), vocab_size=11, num_outputs=3)
    total, in_windows, hits, targets_seen = 0.0, 0.0, 0, 0
    for row in range(ROWS):
        tokens = torch.from_numpy(split.sequences.pad(np.array([row]))[0])
        if split.targets is None:
            inputs, targets = tokens[:, :-1], tokens[:, 1:]
        else:
            inputs, targets = tokens, torch.tensor([int(np.asarray(split.targets)[row])])
        logits = model(inputs, torch.tensor([inputs.shape[1]]))[0]
        total += cross_entropy(logits, targets).item()
        hits += int((logits.argmax(-1) == targets).sum())
        targets_seen += targets.numel()
        for start in range(0, inputs.shape[1] * (split.targets is None), WINDOW):
            now = slice(start, start + WINDOW)
            part = model(inputs[:, now], torch.tensor([inputs[:, now].shape[1]]))[0]
            in_windows += cross_entropy(part, targets[:, now]).item()
    assert figures["loss"] == pytest.approx(total / targets_seen, rel=1e-5)
    assert figures.get("window_loss", 0.0) == pytest.approx(in_windows / targets_seen, rel=1e-5)
    if confusion:
        assert sum(map(sum, confusion)) == ROWS
        assert figures["accuracy"] == hits / ROWS


@pytest.mark.slow
def test_lines_are_read_from_a_fresh_state_as_in_training(tmp_path: Path) -> None:
    """Each sequence is one line (tests/seq/data/test_encode.py), read once; there are no figures of windows."""
    figures = []
    for unit in ("document", "line"):
        run_ranks(record, 1, tmp_path, "language_model", str(tmp_path / f"{unit}.pt"), WINDOW, unit)
        figures.append(torch.load(tmp_path / f"{unit}.pt")[0])
    assert set(figures[1]) == {"loss", "bits_per_char", "perplexity"}
    assert {name: figures[0][name] for name in figures[1]} == figures[1]


@pytest.mark.slow
def test_a_window_longer_than_all_texts_needs_no_more_memory(tmp_path: Path) -> None:
    figures = []
    for window in (12, 10**12):
        run_ranks(record, 1, tmp_path, "language_model", str(tmp_path / f"{window}.pt"), window)
        figures.append(torch.load(tmp_path / f"{window}.pt"))
    assert figures[0] == figures[1]
