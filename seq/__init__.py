"""What is learnt: data, models, training, and the small programs that use a finished run.

import seq
model = seq.load("runs/names")
model.predict(["Adylov", "Sloan"])
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from seq.loaded import LoadedClassifier, LoadedLanguageModel


def load(run: "str | os.PathLike[str]") -> "LoadedClassifier | LoadedLanguageModel":
    """The model of a run directory, or of an exported `model/`: see `seq.loaded`. UserError if there is none."""
    from pathlib import Path

    from seq.loaded import load_model  # torch, only for those who ask for it

    return load_model(Path(run))
