"""`model/`: the trained model in files that other programs read."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_model

from seq.models.build import Model
from seq.training.run_directory import explaining


def export_model(folder: Path, model: Model, description: dict[str, Any]) -> None:
    """Write `model.safetensors`, `config.json` (model section and labels) and `tokenizer.json`.

    `description`: see `describe_run`.
    """
    about = {"model": description["config"]["model"], "labels": description["labels"]}
    with explaining(folder):
        folder.mkdir(exist_ok=True)
        save_model(model, str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps(about, indent=1))
        (folder / "tokenizer.json").write_text(json.dumps(description["tokenizer"], indent=1))
