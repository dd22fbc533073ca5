"""Regression: a number for a text."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq.config import Config, DataConfig
from seq.data.dataset import Batch
from seq.data.examples import Examples
from seq.data.outputs import Coded, Outputs
from seq.data.ragged import Ints
from seq.data.split import Split
from seq.models import Model
from seq.tasks.loaded import LoadedModel, Text, one_or_many
from seq.tasks.losses import squared_error
from seq.tasks.metrics import Evaluation, Metric, compute
from seq.tasks.sequence_task import SCRIPT, SequenceTask, row_batch
from seq.tasks.task import Answer, Answers, Card, Evaluator, TrainedModel, beside

LARGEST = 1e30
"""The largest number that a target may be. The squares of much larger ones do not fit fp64, and the numbers themselves do not fit fp32."""


@dataclass(frozen=True)
class Sums:
    """Sums over the rows, all but the first in standard deviations of `scale`."""

    rows: float
    squares: float
    """The sum of (prediction - truth)^2."""
    distances: float
    truth: float
    truth_squares: float
    scale: float


def _r2(found: Sums) -> float:
    """1 - (squared errors) / (squared distances of the truth from its mean); 0 if all are equal."""
    spread = found.truth_squares - found.truth**2 / found.rows
    return 1 - found.squares / spread if spread > 1e-12 * found.truth_squares else 0.0


class Regression(SequenceTask):
    """Targets are coded (N,) with mean 0 and standard deviation 1 over the training data."""

    name = "regression"
    chosen_by = ("model.kind=classifier", "model.target=number")
    metrics = (
        Metric("loss", "loss", ".4f", "lower", lambda found: found.squares / found.rows),
        Metric("mse", "mean squared error", ".4g", "lower", lambda found: found.squares / found.rows * found.scale**2),
        Metric("mae", "mean absolute error", ".4g", "lower", lambda found: found.distances / found.rows * found.scale),
        Metric("r2", "R2", ".4f", "higher", _r2),
    )
    card = Card(
        article="A regressor",
        usage='print(model.predict("..."))  # or a list of texts',
        use="To estimate a number from short texts of the kind that it was trained on.",
        script=f'{SCRIPT}print(logits[0] * about["outputs"]["scale"] + about["outputs"]["mean"])\n',
    )
    smooths_labels = False
    no_target = math.nan

    def read(self, value: Any, config: DataConfig) -> float:
        try:
            # Python takes 1_000 for a number; elsewhere it is none.
            number = math.nan if "_" in str(value) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"holds {value!r}, not a number")
        if abs(number) > LARGEST:
            raise ValueError(f"holds {value!r}; numbers must be below {LARGEST:g}, so divide the column")
        return number

    def learn(self, targets: Sequence[float], config: DataConfig) -> Outputs:
        numbers = np.array(targets)
        return Outputs(mean=float(numbers.mean()), scale=(float(numbers.std()) if np.ptp(numbers) else 0.0) or 1.0)

    def code(self, split: Examples, outputs: Outputs) -> Coded:
        return ((np.array(split.targets) - outputs.mean) / outputs.scale).astype(np.float32)

    def batch(
        self, padded: Ints, stored: Ints, times: Sequence[int], chosen: NDArray[Any], outputs: Outputs
    ) -> dict[str, Tensor]:
        return row_batch(padded, stored, times, torch.tensor(chosen))

    def show(self, target: float, outputs: Outputs) -> str:
        return f"{target * outputs.scale + outputs.mean:.6g}"

    def loss(self, logits: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return squared_error(logits, targets)

    def evaluator(self, split: Split, config: Config, device: torch.device) -> Evaluator:
        return NumberEvaluator(split.outputs.scale)

    def values(self, logits: Tensor) -> Tensor:
        return logits.double()

    def mean(self, logits: Tensor) -> Tensor:
        return logits.mean(0)

    def answers(self, trained: TrainedModel, options: argparse.Namespace) -> Answers:
        def answer(texts: list[str]) -> Iterator[Answer]:
            for text, (value,) in self.predictions(trained, texts):
                yield beside(text, [f"{float(value):.6g}"], [float(value)])

        return Answers(["prediction"], answer)

    def load(self, trained: TrainedModel) -> "LoadedRegressor":
        return LoadedRegressor(trained, self)


class NumberEvaluator:
    in_chunks, lists = False, ()

    def __init__(self, scale: float) -> None:
        self.sums, self.counts, self._scale = 5, list[Tensor](), scale

    def add(self, model: Model, batch: Batch) -> Tensor:
        logits = model(**batch.arguments())[0]
        there = ~batch.targets.isnan()
        truth = batch.targets.double().where(there, 0)
        error = (logits[:, 0].double() - truth).where(there, 0)  # NaN where the model says NaN
        parts = (there, error**2, error.abs(), truth, truth**2)
        return torch.stack([(part * there).sum().double() for part in parts])

    def result(self, sums: list[float], counts: list[NDArray[np.int64]]) -> Evaluation:
        rows, squares, distances, truth, truth_squares = sums
        found = Sums(rows, squares, distances, truth, truth_squares, self._scale)
        return Evaluation(figures=compute(Regression.metrics, found))


@dataclass(frozen=True)
class LoadedRegressor(LoadedModel):
    """A model that gives each text a number."""

    task: SequenceTask

    @one_or_many
    def predict(self, texts: Sequence[Text]) -> list[float]:
        """The number of each text."""
        return [float(value) for _, (value,) in self.task.predictions(self.trained, self.joined(texts))]
