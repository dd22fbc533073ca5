"""The networks: token ids in, logits out. They know nothing about text or files."""

import torch
from torch import nn

from launch.seeding import derive_seed
from seq.config import ClassifierConfig, Config, Seq2SeqConfig, TaggerConfig
from seq.models.classifier import Classifier
from seq.models.language_model import LanguageModel
from seq.models.ngrams import RowTable
from seq.models.seq2seq import Seq2Seq
from seq.models.tagger import Tagger

__all__ = ["Classifier", "LanguageModel", "Model", "Seq2Seq", "Tagger", "build_model", "row_tables"]

Model = Classifier | LanguageModel | Tagger | Seq2Seq


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
    if isinstance(config.model, Seq2SeqConfig):
        return Seq2Seq(config.model, vocab_size, num_outputs, teacher_forcing)
    return LanguageModel(config.model, vocab_size, teacher_forcing, num_outputs)
