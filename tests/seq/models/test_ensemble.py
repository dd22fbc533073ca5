"""The mean of the members' probabilities."""

import pytest
import torch

from seq.config import ClassifierConfig, Seq2SeqConfig
from seq.models.classifier import Classifier
from seq.models.ensemble import Ensemble, Seq2SeqEnsemble
from seq.models.search import search
from seq.models.seq2seq import Seq2Seq
from seq.tasks.classification import Classification
from seq.tasks.multilabel import Multilabel
from seq.tasks.regression import Regression


def test_mean_of_probabilities() -> None:
    config = ClassifierConfig(hidden_size=4, embedding_dim=4, ngrams=2, ngram_buckets=16)
    members = [Classifier(config, vocab_size=9, num_outputs=3).eval() for _ in range(3)]
    inputs, lengths = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2])
    logits, _ = Ensemble(members, Classification().mean)(inputs, lengths)
    mean = torch.stack([member(inputs, lengths)[0].softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(logits.softmax(-1), mean)
    torch.testing.assert_close(logits.exp(), mean)


def test_an_encoder_decoder_finds_the_mean_of_probabilities() -> None:
    config = Seq2SeqConfig(hidden_size=4, embedding_dim=4, num_layers=2)
    members = [Seq2Seq(config, 9, 7, 1.0).eval() for _ in range(3)]
    inputs, lengths = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2])
    before, both = torch.tensor([[1, 5, 4], [1, 6, 0]]), torch.tensor([3, 2])
    logits, _ = Seq2SeqEnsemble(members)(inputs, lengths, before, both)
    mean = torch.stack([member(inputs, lengths, before, both)[0].softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(logits[0].exp(), mean[0])
    torch.testing.assert_close(logits[1, :2].exp(), mean[1, :2])


def test_a_search_of_equal_members_is_the_search_of_one() -> None:
    member = Seq2Seq(Seq2SeqConfig(hidden_size=4, embedding_dim=4, num_layers=2), 9, 7, 1.0).eval()
    inputs, lengths = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2])
    one, three = (search(model, inputs, lengths, beam=3, most=5) for model in (member, Seq2SeqEnsemble([member] * 3)))
    assert one.tokens.equal(three.tokens)
    torch.testing.assert_close(one.log_probabilities, three.log_probabilities)


def test_sets_and_numbers_are_averaged_too() -> None:
    logits = torch.tensor([[[2.0, -1.0]], [[0.5, 40.0]]])
    mean = Multilabel().mean(logits)
    torch.testing.assert_close(mean[:, 0].sigmoid(), logits[:, :, 0].sigmoid().mean(0))
    assert Multilabel().mean(torch.full((2, 1, 1), 40.0)).item() == pytest.approx(40.0), "a sure one stays finite"
    assert Regression().mean(logits).tolist() == [[1.25, 19.5]]
