import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.models.ngrams import NgramLogits

Rows = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=7), min_size=1, max_size=5)


@given(Rows, st.integers(1, 4))
def test_padded_is_one_by_one_and_counts_each_ngram(rows: list[list[int]], orders: int) -> None:
    torch.manual_seed(0)
    model = NgramLogits(6, 3, orders=orders, buckets=1 << 20).double()
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
