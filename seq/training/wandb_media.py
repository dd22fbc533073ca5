"""What W&B shows of a run beside curves: charts, tables, artifacts."""

from pathlib import Path
from typing import Any

import numpy as np
import wandb
from numpy.typing import NDArray

from seq.training.checkpoint import checkpoints_in
from seq.training.metrics import per_class, precision_recall

MOST_CURVES = 20
"""What W&B's chart has colours for."""


def confusion_chart(title: str, confusion: NDArray[np.int64], labels: tuple[str, ...]) -> Any:
    """W&B's own chart. It is given the filled cells only: a thousand classes have a million."""
    rows, columns = confusion.nonzero()
    cells = [
        [labels[row], labels[column], int(confusion[row, column])] for row, column in zip(rows, columns, strict=True)
    ]
    names: list[str | int] = ["Actual", "Predicted", "nPredictions"]
    return wandb.plot_table(
        data_table=wandb.Table(columns=names, data=cells),
        vega_spec_name="wandb/confusion_matrix/v1",
        fields={str(name): name for name in names},
        string_fields={"title": title},
    )


def precision_recall_chart(
    title: str, confusion: NDArray[np.int64], scores: NDArray[np.int64], labels: tuple[str, ...]
) -> Any:
    """W&B's own chart of precision against recall, a curve for each of the largest classes."""
    largest = np.argsort(-confusion.sum(1), kind="stable")[:MOST_CURVES]
    points = [
        [labels[number], round(recall, 4), round(precision, 4)]
        for number in largest
        for recall, precision in precision_recall(scores[number])
    ]
    names: list[str | int] = ["class", "recall", "precision"]
    return wandb.plot_table(
        data_table=wandb.Table(columns=names, data=points),
        vega_spec_name="wandb/area-under-curve/v0",
        fields={"x": "recall", "y": "precision", "class": "class"},
        string_fields={"title": title, "x-axis-title": "Recall", "y-axis-title": "Precision"},
    )


def class_table(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> wandb.Table:
    names = ["precision", "recall", "f1", "support", "predicted"]
    rows = zip(labels, per_class(confusion), strict=True)
    return wandb.Table(columns=["class", *names], data=[[label, *(row[name] for name in names)] for label, row in rows])


def artifacts(folder: Path, wanted: str) -> list[tuple[str, Path]]:
    """(type, path) of what W&B shall keep of the run; the model is there if the run is finished."""
    model = [("model", folder / "model")] if wanted != "none" and (folder / "model").is_dir() else []
    newest = checkpoints_in(folder / "checkpoints")[-1:] if wanted == "all" else []
    return model + [("checkpoint", path) for path in newest]
