"""Data, models, training, and the programs that use a run.

import seq
model = seq.load("runs/names")
model.predict(["Adylov", "Sloan"])
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from seq.inference.loaded import LoadedClassifier, LoadedLanguageModel


def load(run: "str | os.PathLike[str]") -> "LoadedClassifier | LoadedLanguageModel":
    """The model of a run directory, or of an exported `model/`: see `seq.inference.loaded`. UserError if there is none."""
    from pathlib import Path

    from seq.inference.loaded import load_model  # imports torch, so only when it is needed

    return load_model(Path(run))
