"""`model/`: the trained model in files that other programs read, with a model card."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

import seq
from seq.config import Config
from seq.data.corpus import Vocabulary
from seq.errors import warn
from seq.files import refuse_links, write_atomically, write_bytes
from seq.inference.model_card import model_card
from seq.models import Model
from seq.run.checkpoint import params_sha256
from seq.run.directory import Run
from seq.run.result import chosen_step, without_folders

FORMAT = 1
"""The format of `config.json`. Raise it when older folders can no longer be read."""


def export_at_end(run: Run, model: Model, result: dict[str, Any]) -> None:
    """`export_model` of a run that is finished and has its result. A warning if that fails: nothing is lost."""
    try:
        export_model(run.directory.path, model, run.config, run.corpus, result)
    except Exception as error:
        path, reason = run.directory.path, " ".join(str(error).split())[:200]
        warn(f"{path / 'model'}: not written ({reason}); to write it: python -m seq.export {path} --format model")


def export_model(run: Path, model: Model, config: Config, vocabulary: Vocabulary, result: dict[str, Any]) -> Path:
    """Write `model.safetensors`, `config.json`, `tokenizer.json` and a model card, `README.md`, into `model/` of the directory
    `run`. `result`: see `seq.run.result.make_result`. OSError if that fails."""
    folder = run / "model"
    refuse_links(run)
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "README.md", model_card(config, vocabulary, result))
    write_model(folder, model, config, vocabulary, chosen_step(result))
    return folder


def write_model(folder: Path, model: Model, config: Config, vocabulary: Vocabulary, step: int) -> None:
    """The files that `load_exported` reads. OSError if that fails."""
    about = {
        "format": FORMAT,
        "lockstep": seq.__version__,
        "config": without_folders(config.model_dump(mode="json")),
        "outputs": vocabulary.outputs.to_dict(),
        "step": step,
        "params_sha256": params_sha256(model),  # safetensors has no checksum of its own
    }
    save_weights(model, folder / "model.safetensors")
    write_atomically(folder / "config.json", json.dumps(about, indent=1))
    write_atomically(folder / "tokenizer.json", json.dumps(vocabulary.tokenizer.to_dict(), indent=1))


def save_weights(model: Model, path: Path) -> None:
    """Write the weights as safetensors, a shared weight once. OSError if that fails."""
    # Copies: on a GPU, cuDNN keeps all weights of a GRU in one block, and safetensors refuses to write slices of a block.
    weights = {name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in model.named_parameters()}
    write_bytes(path, save(weights))  # the library's `save_file` lets nobody else read the file
