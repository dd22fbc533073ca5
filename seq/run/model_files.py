"""The files of a trained model that other programs read: weights, config and vocabulary."""

import json
from pathlib import Path

from safetensors.torch import save

import seq
from seq.config import Config
from seq.data.outputs import Vocabulary
from seq.files import write_atomically, write_bytes
from seq.models import Model
from seq.run.checkpoint import params_sha256
from seq.run.environment import without_folders

FORMAT = 1
"""The format of `config.json`. Raise it when older folders can no longer be read."""


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
