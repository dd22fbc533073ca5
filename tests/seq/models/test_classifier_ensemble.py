"""The mean of the members' probabilities."""

import torch

from seq.config import ClassifierConfig
from seq.models.classifier import Classifier, Ensemble


def test_mean_of_probabilities() -> None:
    config = ClassifierConfig(hidden_size=4, embedding_dim=4, ngrams=2, ngram_buckets=16)
    members = [Classifier(config, vocab_size=9, num_outputs=3).eval() for _ in range(3)]
    inputs, lengths = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2])
    logits, _ = Ensemble(members)(inputs, lengths)
    mean = torch.stack([member(inputs, lengths)[0].softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(logits.softmax(-1), mean)
    torch.testing.assert_close(logits.exp(), mean)
