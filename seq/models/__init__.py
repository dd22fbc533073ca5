"""The networks: token ids in, logits out. They know nothing about text or files."""

import torch

from launch.seeding import derive_seed
from seq.config import ClassifierConfig, Config
from seq.models.classifier import Classifier
from seq.models.language_model import LanguageModel

Model = Classifier | LanguageModel


def build_model(config: Config, *, vocab_size: int, num_labels: int) -> Model:
    """A model. Its initial weights depend only on its sizes and `run.seed`."""
    torch.manual_seed(derive_seed(config.run.seed, "weights"))
    if isinstance(config.model, ClassifierConfig):
        return Classifier(config.model, vocab_size, num_labels)
    return LanguageModel(config.model, vocab_size, config.train.teacher_forcing, num_labels)
