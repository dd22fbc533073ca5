"""The networks: token ids in, logits out. They know nothing about text or files."""

import torch
from torch import nn

from launch.seeding import derive_seed
from seq.config import ClassifierConfig, Config, TaggerConfig, TransducerConfig
from seq.models.classifier import Classifier
from seq.models.language_model import LanguageModel
from seq.models.table import RowTable
from seq.models.tagger import Tagger
from seq.models.transducer import Transducer

__all__ = ["Classifier", "LanguageModel", "Model", "Tagger", "Transducer", "build_model", "row_tables"]

Model = Classifier | LanguageModel | Tagger | Transducer


def row_tables(model: nn.Module) -> dict[str, RowTable]:
    """The row-sparse tables of a model, by the names of their weights."""
    return {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, RowTable)}


def build_model(config: Config, *, vocab_size: int, num_outputs: int) -> Model:
    """A model. `num_outputs`: labels of the data; 1 for a number. Its initial weights depend only on its sizes and `run.seed`."""
    torch.manual_seed(derive_seed(config.run.seed, "weights"))
    if isinstance(config.model, ClassifierConfig):
        return Classifier(config.model, vocab_size, num_outputs)
    if isinstance(config.model, TaggerConfig):
        return Tagger(config.model, vocab_size, num_outputs)
    teacher_forcing = config.train.teacher_forcing
    if isinstance(config.model, TransducerConfig):
        return Transducer(config.model, vocab_size, num_outputs, teacher_forcing)
    return LanguageModel(config.model, vocab_size, teacher_forcing, num_outputs)
