from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import LanguageModelConfig
from seq.models import ngrams
from seq.models.language_model import LanguageModel
from seq.models.ngrams import NgramEmbedding, NgramLogits

Rows = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=7), min_size=1, max_size=5)


@given(Rows, st.integers(1, 4), st.sampled_from([2, 3]))
def test_padded_is_one_by_one_and_counts_each_ngram(rows: list[list[int]], orders: int, columns: int) -> None:
    """Also where a matrix makes the logits of more classes than the table has columns."""
    torch.manual_seed(0)
    with patch.object(ngrams, "MOST_COLUMNS", columns):
        model = NgramLogits(6, 3, orders=orders, buckets=1 << 20).double()
    assert model.table.weight.shape[1] == columns
    torch.nn.init.normal_(model.table.weight)
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    together = model(padded, torch.tensor([len(row) for row in rows]))
    for row, logits in zip(rows, together, strict=True):
        torch.testing.assert_close(model(torch.tensor([row]), torch.tensor([len(row)]))[0], logits)
    # The same n-grams in another row give the same logits: those of one n-gram are found by a text that is just it.
    for row, logits in zip(rows, together, strict=True):
        total = torch.zeros(3, dtype=torch.float64)
        for size in range(1, orders + 1):
            for start in range(len(row) - size + 1):
                total += _alone(model, row[start : start + size])
        torch.testing.assert_close(total / len(row) ** 0.5, logits)


def _alone(model: NgramLogits, gram: list[int]) -> torch.Tensor:
    """The logits of the n-gram itself: of the text, less those of its parts."""
    whole: torch.Tensor = model(torch.tensor([gram]), torch.tensor([len(gram)]))[0] * len(gram) ** 0.5
    for size in range(1, len(gram)):
        for start in range(len(gram) - size + 1):
            whole = whole - _alone(model, gram[start : start + size])
    return whole


def test_position_and_padding_do_not_matter_and_order_does() -> None:
    torch.manual_seed(0)
    model = NgramLogits(9, 2, orders=3, buckets=1 << 20)
    torch.nn.init.normal_(model.table.weight)
    one, other = (model(torch.tensor([row]), torch.tensor([3])) for row in ([5, 6, 7], [7, 6, 5]))
    assert not torch.allclose(one, other)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(2, 5), st.data())
def test_embeddings_of_ngrams_wherever_a_text_is_cut(text: list[int], orders: int, data: st.DataObject) -> None:
    """Each n-gram has an embedding, the same wherever it stands: a position's is the sum of those that end there."""
    torch.manual_seed(0)
    model = NgramEmbedding(3, orders=orders, buckets=1 << 16).double()
    tokens = torch.tensor([[0] * model.reach + text])
    alone = {
        size: {
            tuple(gram): model.table.weight[_places(model, gram)[size - 2]]
            for gram in _ngrams(tokens[0].tolist(), size)
        }
        for size in range(2, orders + 1)
    }
    cut = data.draw(st.integers(0, len(text) - 1))
    found = model(tokens[:, model.reach + cut :], tokens[:, cut : model.reach + cut])
    for place in range(cut, len(text)):
        end = model.reach + place + 1
        grams = [tuple(tokens[0, end - size : end].tolist()) for size in alone]
        want = sum(alone[len(gram)][gram] for gram in grams)
        torch.testing.assert_close(found[0, place - cut], want)


def _ngrams(tokens: list[int], size: int) -> list[list[int]]:
    return [tokens[start : start + size] for start in range(len(tokens) - size + 1)]


def _places(model: NgramEmbedding, gram: list[int]) -> list[torch.Tensor]:
    """Rows of the table, by order, that a text which ends with `gram` reads: in plain integers."""
    hashed, places = gram[-1], []
    for order, token in enumerate(reversed(gram[:-1])):
        hashed = (hashed * 1103515245 + token) % (2**31 - 1)
        places.append(torch.tensor(hashed % model.buckets + order * model.buckets))
    return places


def test_a_language_model_reads_on_where_a_text_was_cut() -> None:
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(hidden_size=7, ngrams=4, ngram_buckets=50), 9).double()
    text = torch.randint(1, 9, (2, 11))
    whole, _ = model(text, torch.tensor([11, 11]))
    first, hidden = model(text[:, :5], torch.tensor([5, 5]))
    second, _ = model(text[:, 5:], torch.tensor([6, 6]), hidden, preceding=text[:, :5])
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    fresh, _ = model(text[:, 5:], torch.tensor([6, 6]), hidden)
    assert not torch.allclose(fresh, second)


def test_dropout_leaves_out_single_ngrams() -> None:
    torch.manual_seed(0)
    model = NgramEmbedding(1, orders=4, buckets=30, dropout=0.25)
    torch.nn.init.ones_(model.table.weight)
    tokens, before = torch.randint(1, 9, (40, 50)), torch.zeros(40, 3, dtype=torch.int64)
    left = model(tokens, before) * 0.75  # so many of the three
    torch.testing.assert_close(left, left.round())
    assert set(left.unique().round().tolist()) == {0, 1, 2, 3}
    assert abs(left.mean() / 3 - 0.75) < 0.02
    assert model.eval()(tokens, before).unique().tolist() == [3]


def test_dropout_of_ngrams_keeps_the_mean() -> None:
    torch.manual_seed(0)
    model = NgramLogits(6, 3, orders=3, buckets=64, dropout=0.5)
    torch.nn.init.normal_(model.table.weight)
    inputs, lengths = torch.tensor([[1, 2, 3, 4]]).expand(4000, -1), torch.full((4000,), 4)
    dropped = model(inputs, lengths)
    assert len(dropped.unique(dim=0)) > 100
    kept = model.eval()(inputs[:1], lengths[:1])
    torch.testing.assert_close(dropped.mean(0), kept[0], rtol=0, atol=0.1)
