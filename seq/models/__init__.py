"""The networks: token ids in, logits out. They know nothing about text or files."""

from typing import TypeVar

import torch
from torch import nn

from launch.seeding import derive_seed
from seq.config import ClassifierConfig, Config, Seq2SeqConfig, TaggerConfig
from seq.config.own_code import own_code
from seq.errors import UserError
from seq.models.classifier import Classifier
from seq.models.language_model import LanguageModel
from seq.models.ngrams import RowTable
from seq.models.seq2seq import Seq2Seq
from seq.models.tagger import Tagger

__all__ = ["Classifier", "LanguageModel", "Model", "Seq2Seq", "Tagger", "build_model", "row_tables"]

Model = Classifier | LanguageModel | Tagger | Seq2Seq
Built = TypeVar("Built", Classifier, LanguageModel, Tagger, Seq2Seq)


def row_tables(model: nn.Module) -> dict[str, RowTable]:
    """The row-sparse tables of a model, by the names of their weights."""
    return {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, RowTable)}


def build_model(config: Config, *, vocab_size: int, num_outputs: int) -> Model:
    """A model. `num_outputs`: labels of the data; 1 for a number. Its initial weights depend only on its sizes and `run.seed`. UserError
    if `model.class` cannot be used."""
    torch.manual_seed(derive_seed(config.run.seed, "weights"))
    if isinstance(config.model, ClassifierConfig):
        return _class(config, Classifier)(config.model, vocab_size, num_outputs)
    if isinstance(config.model, TaggerConfig):
        return _class(config, Tagger)(config.model, vocab_size, num_outputs)
    teacher_forcing = config.train.teacher_forcing
    if isinstance(config.model, Seq2SeqConfig):
        return _class(config, Seq2Seq)(config.model, vocab_size, num_outputs, teacher_forcing)
    return _class(config, LanguageModel)(config.model, vocab_size, teacher_forcing, num_outputs)


def _class(config: Config, built_in: type[Built]) -> type[Built]:
    """The class that `model.class` names, or else the built-in one of this kind of model."""
    own = own_code(config, "model.class") or built_in
    if not (isinstance(own, type) and issubclass(own, built_in)):
        raise UserError(f"model.class={config.model.own_class}: must derive from seq.models.{built_in.__name__}")
    return own
