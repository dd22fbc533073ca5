"""Charts, tables and pictures of an evaluation for W&B."""

import io
from typing import Any

import numpy as np
import PIL.Image
import wandb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from seq.tasks.confusion import Confusion, precision_recall

MOST_CURVES = 20
"""W&B's chart has colours for this many curves."""


def attention_picture(sample: dict[str, Any]) -> wandb.Image:
    """Draw a decoder's attention: a row for each token that it wrote, a column for each that it read."""
    about = sample["attention"]
    figure = Figure(figsize=(0.3 * len(about["source"]) + 1, 0.3 * len(about["target"]) + 1), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(about["weights"], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(about["source"])), about["source"])
    axes.set_yticks(range(len(about["target"])), about["target"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return wandb.Image(PIL.Image.open(buffer), caption=f"{sample['prompt']}{sample['text']}")


def confusion_chart(title: str, confusion: Confusion, labels: tuple[str, ...]) -> Any:
    """W&B's own chart. Only filled cells are passed, because a thousand classes have a million cells."""
    filled = zip(confusion.true, confusion.predicted, confusion.counts, strict=True)
    cells = [[labels[true], labels[predicted], int(count)] for true, predicted, count in filled]
    names: list[str | int] = ["Actual", "Predicted", "nPredictions"]
    return wandb.plot_table(
        data_table=wandb.Table(columns=names, data=cells),
        vega_spec_name="wandb/confusion_matrix/v1",
        fields={str(name): name for name in names},
        string_fields={"title": title},
    )


def precision_recall_chart(title: str, scores: NDArray[np.int64], labels: tuple[str, ...]) -> Any:
    """W&B's own chart of precision over recall, with a curve for each of the largest classes."""
    largest = np.argsort(-scores[:, 1].sum(1), kind="stable")[:MOST_CURVES]
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


def class_table(classes: list[dict[str, Any]], labels: tuple[str, ...]) -> wandb.Table:
    names = ["precision", "recall", "f1", "support", "predicted"]
    rows = zip(labels, classes, strict=True)
    return wandb.Table(columns=["class", *names], data=[[label, *(row[name] for name in names)] for label, row in rows])


def mistakes_table(confused: list[dict[str, Any]]) -> wandb.Table:
    """A row for each example of the pairs of classes that are confused most."""
    rows = [[pair["true"], pair["predicted"], pair["count"], text] for pair in confused for text in pair["texts"]]
    return wandb.Table(columns=["true", "predicted", "confused in all", "text"], data=rows)
