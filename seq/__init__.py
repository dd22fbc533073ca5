"""Data, models, training, and the programs that use a run.

import seq
model = seq.load("runs/names")
model.predict(["Adylov", "Sloan"])
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import torch

    from seq.tasks import Loaded


def load(
    run: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]",
    *,
    device: "str | torch.device | None" = None,
    trust_code: bool = False,
) -> "Loaded":
    """Load the model of a run directory or of an exported `model/`; see `seq.tasks`. A list of classifier runs gives one model that
    averages their predictions. The model is on `device`, such as `cpu` or `cuda:1`; by default on the GPU, if there is one.
    `trust_code`: run the code that the model brings (`model.class`). UserError if there is no model."""
    import os
    from pathlib import Path

    from seq.config.own_code import trusting
    from seq.run.trained import load_model  # imports torch, so only when it is needed

    runs = [run] if isinstance(run, str | os.PathLike) else run
    with trusting(trust_code):
        return load_model([Path(each) for each in runs], device)
