"""`train.init_from`: begin with another run's weights, and read text as it does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from seq.config import Config
from seq.data.corpus import Corpus, prepare_corpus
from seq.errors import UserError
from seq.models.build import Model
from seq.training.trained import TrainedModel, load_run

MAY_DIFFER = {"dropout", "token_dropout", "embedding_dropout", "output_dropout", "path"}
"""Keys of `model` that leave the shapes of its weights alone."""
LABEL_AXES = {"classifier": {"output.weight": 0, "output.bias": 0, "ngrams.table.weight": 1}}
LABEL_AXES["language_model"] = {"label_embedding.weight": 0}
"""The axis of a parameter along which each label has its own part."""


def corpus_for(config: Config) -> Corpus:
    """The corpus of the run. With `train.init_from` it is encoded by that run's characters. UserError if that run has no
    model, another shape or another way to read text; labels that it does not know are among the corpus's notes."""
    source = _source(config)
    if source is None:
        return prepare_corpus(config.data, config.task)
    _check_same_shape(config, source)
    corpus = prepare_corpus(config.data, config.task, tokenizer=source.tokenizer)
    new = [label for label in corpus.labels if label not in source.labels]
    if not new:
        return corpus
    shown = ", ".join(new[:8]) + ", ..." * (len(new) > 8)
    note = f"{len(new)} of {len(corpus.labels)} labels are new to {config.train.init_from}, and begin anew: {shown}"
    return replace(corpus, notes=(*corpus.notes, note))


def copy_initial_weights(model: Model, config: Config, labels: tuple[str, ...]) -> None:
    """The weights of `train.init_from`, if there is one, into a fresh model; parts of labels by their names."""
    source = _source(config)
    if source is None:
        return
    here, there = model.state_dict(), source.model.state_dict()
    known = [label for label in labels if label in source.labels]
    own, other = [labels.index(label) for label in known], [source.labels.index(label) for label in known]
    for name, values in here.items():
        axis = LABEL_AXES[config.model.kind].get(name)
        if axis is None:
            values.copy_(there[name])
        else:
            values.transpose(0, axis)[own] = there[name].to(values).transpose(0, axis)[other]


def _source(config: Config) -> TrainedModel | None:
    return None if config.train.init_from is None else load_run(Path(config.train.init_from).expanduser())


def _check_same_shape(config: Config, source: TrainedModel) -> None:
    run, tokenizer = config.train.init_from, source.tokenizer
    here: dict[str, Any] = {f"model.{key}": value for key, value in config.model if key not in MAY_DIFFER}
    there: dict[str, Any] = {f"model.{key}": value for key, value in source.config.model if key not in MAY_DIFFER}
    here |= {"data.tokenizer": config.data.tokenizer, "data.lowercase": config.data.lowercase}
    there |= {"data.tokenizer": tokenizer.kind, "data.lowercase": tokenizer.lowercase}
    if differing := [key for key in here if here[key] != there.get(key)]:
        settings = " ".join(f"{key}={there.get(key)}" for key in differing)
        raise UserError(f"train.init_from={run}: its model has another shape; to begin with it, set {settings}")
