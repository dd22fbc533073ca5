"""`train.init_from`: begin with another run's weights and characters."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seq.config import Config
from seq.config.model import KIND_NAMES
from seq.errors import UserError
from seq.files import disk_errors_as_run_errors
from seq.models import Model
from seq.run.directory import RunDirectory
from seq.run.model_files import write_model
from seq.run.trained import load_run
from seq.tasks import TrainedModel

MAY_DIFFER = {
    "dropout",
    "token_dropout",
    "embedding_dropout",
    "output_dropout",
    "ngram_dropout",
    "attention_dropout",
    "path",
}
"""Keys of `model` that do not change the shapes of its weights."""
LABEL_AXES = {
    "classifier": {"output.weight": 0, "output.bias": 0, "ngrams.table.weight": 1},
    "language_model": {"label_embedding.weight": 0},
    "tagger": {"output.weight": 0, "output.bias": 0},
    "seq2seq": {},
}
"""The axis of a parameter along which each label has its own weights."""


@dataclass(frozen=True)
class InitialModel:
    """The model that a run begins with; `trained` is None if the run begins with random weights."""

    trained: TrainedModel | None

    @classmethod
    def load(cls, config: Config, directory: RunDirectory) -> "InitialModel":
        """The model of `train.init_from`. A run that has begun keeps a copy and reads that, so the other run may change or
        go away. UserError if there is no such model, or it has another shape."""
        if config.train.init_from is None:
            return cls(None)
        kept = directory.initial.is_dir() and not directory.fresh
        source = directory.initial if kept else Path(config.train.init_from).expanduser()
        trained = load_run(source, device=torch.device("cpu"))
        _check_same_shape(config, trained)
        return cls(trained)

    def copy_weights_to(self, model: Model, labels: tuple[str, ...]) -> None:
        """Copy the weights into a new model; those of a label by its name."""
        if self.trained is None:
            return
        here, there, before = model.state_dict(), self.trained.model.state_dict(), self.trained.labels
        known = [label for label in labels if label in before]
        own, other = [labels.index(label) for label in known], [before.index(label) for label in known]
        for name, values in here.items():
            axis = LABEL_AXES[self.trained.config.model.kind].get(name)
            if axis is None or not labels:
                values.copy_(there[name])
            else:
                values.transpose(0, axis)[own] = there[name].to(values).transpose(0, axis)[other]

    def keep_in(self, directory: RunDirectory) -> None:
        """Copy the model into the run directory. Only rank 0 calls this."""
        if self.trained is None or directory.initial.is_dir():
            return
        temporary = directory.initial.with_name(f"initial.part-{os.getpid()}")
        with disk_errors_as_run_errors(directory.initial):
            temporary.mkdir(exist_ok=True)
            write_model(temporary, self.trained.model, self.trained.config, self.trained, self.trained.step)
            temporary.rename(directory.initial)


def _check_same_shape(config: Config, source: TrainedModel) -> None:
    run, tokenizer, kind = config.train.init_from, source.tokenizer, source.config.model.kind
    if kind != config.model.kind:
        raise UserError(f"train.init_from={run}: is {KIND_NAMES[kind]}, and model.kind={config.model.kind}")
    here: dict[str, Any] = {f"model.{key}": value for key, value in config.model if key not in MAY_DIFFER}
    there: dict[str, Any] = {f"model.{key}": value for key, value in source.config.model if key not in MAY_DIFFER}
    lowercase = tokenizer.lowercase if config.data.lowercase is None else config.data.lowercase
    here |= {"data.tokenizer": config.data.tokenizer, "data.lowercase": lowercase}
    there |= {"data.tokenizer": tokenizer.kind, "data.lowercase": tokenizer.lowercase}
    if kind == "seq2seq":
        here["data.target_tokenizer"] = config.data.target_tokenizer
        there["data.target_tokenizer"] = source.config.data.target_tokenizer
    if differing := [key for key in here if here[key] != there.get(key)]:
        settings = " ".join(f"{key}={there.get(key)}" for key in differing)
        raise UserError(f"train.init_from={run}: its model has another shape; to begin with it, set {settings}")
