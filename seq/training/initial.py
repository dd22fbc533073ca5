"""`train.init_from`: begin with another run's weights, and read text as it does."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seq.config import Config
from seq.data.corpus import Corpus, prepare_corpus
from seq.errors import UserError
from seq.models.build import Model
from seq.training.export import write_model
from seq.training.run_directory import RunDirectory, explaining
from seq.training.trained import TrainedModel, load_run

CPU = torch.device("cpu")

MAY_DIFFER = {"dropout", "token_dropout", "embedding_dropout", "output_dropout", "ngram_dropout", "path"}
"""Keys of `model` that leave the shapes of its weights alone."""
LABEL_AXES = {"classifier": {"output.weight": 0, "output.bias": 0, "ngrams.table.weight": 1}}
LABEL_AXES["language_model"] = {"label_embedding.weight": 0}
"""The axis of a parameter along which each label has its own part."""


def load_initial(config: Config, directory: RunDirectory) -> TrainedModel | None:
    """The model of `train.init_from`, None without it: from the copy that the run keeps of it, once it has begun, so that
    it does not matter what becomes of the other run. UserError if there is no model, or one of another shape."""
    if config.train.init_from is None:
        return None
    kept = directory.initial.is_dir() and not directory.fresh
    source = load_run(directory.initial if kept else Path(config.train.init_from).expanduser(), device=CPU)
    _check_same_shape(config, source)
    return source


def corpus_for(config: Config, initial: TrainedModel | None) -> Corpus:
    """The corpus of the run, encoded by the characters of the model that it begins with. Labels that this does not know
    are among the corpus's notes."""
    if initial is None:
        return prepare_corpus(config.data, config.task)
    corpus = prepare_corpus(config.data, config.task, tokenizer=initial.tokenizer)
    new = [label for label in corpus.labels if label not in initial.labels]
    if not new:
        return corpus
    shown = ", ".join(new[:8]) + ", ..." * (len(new) > 8)
    note = f"{len(new)} of {len(corpus.labels)} labels are new to {config.train.init_from}, and begin anew: {shown}"
    return replace(corpus, notes=(*corpus.notes, note))


def keep_initial(directory: RunDirectory, initial: TrainedModel | None) -> None:
    """Copy it into the run directory, on rank 0."""
    if initial is None or directory.initial.is_dir():
        return
    config, tokenizer = initial.config.model_dump(mode="json"), initial.tokenizer.to_dict()
    description = {"config": config, "labels": list(initial.labels), "tokenizer": tokenizer}
    temporary = directory.initial.with_name(f"initial.part-{os.getpid()}")
    with explaining(directory.initial):
        temporary.mkdir(exist_ok=True)
        write_model(temporary, initial.model, description, initial.step)
        temporary.rename(directory.initial)


def copy_initial_weights(model: Model, initial: TrainedModel, labels: tuple[str, ...]) -> None:
    """Into a fresh model; what belongs to labels, by their names."""
    here, there = model.state_dict(), initial.model.state_dict()
    known = [label for label in labels if label in initial.labels]
    own, other = [labels.index(label) for label in known], [initial.labels.index(label) for label in known]
    for name, values in here.items():
        axis = LABEL_AXES[initial.config.model.kind].get(name)
        if axis is None:
            values.copy_(there[name])
        else:
            values.transpose(0, axis)[own] = there[name].to(values).transpose(0, axis)[other]


def _check_same_shape(config: Config, source: TrainedModel) -> None:
    run, tokenizer, kind = config.train.init_from, source.tokenizer, source.config.model.kind
    if kind != config.model.kind:
        raise UserError(f"train.init_from={run}: is a {kind.replace('_', ' ')}, and model.kind={config.model.kind}")
    here: dict[str, Any] = {f"model.{key}": value for key, value in config.model if key not in MAY_DIFFER}
    there: dict[str, Any] = {f"model.{key}": value for key, value in source.config.model if key not in MAY_DIFFER}
    here |= {"data.tokenizer": config.data.tokenizer, "data.lowercase": config.data.lowercase}
    there |= {"data.tokenizer": tokenizer.kind, "data.lowercase": tokenizer.lowercase}
    if differing := [key for key in here if here[key] != there.get(key)]:
        settings = " ".join(f"{key}={there.get(key)}" for key in differing)
        raise UserError(f"train.init_from={run}: its model has another shape; to begin with it, set {settings}")
