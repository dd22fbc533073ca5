"""A table whose gradient is that of `nn.Embedding`, but names only the rows that were read."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seq.models.ngrams import RowTable


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=1, max_size=12), min_size=1, max_size=3))
def test_gradient_of_several_calls(calls: list[list[tuple[int, int]]]) -> None:
    table, reference = RowTable(10, 3, per_token=2), nn.Embedding(10, 3)
    table.weight.data.copy_(reference.weight.data)
    for call in calls:
        places = torch.tensor(call)
        factors = torch.rand(places.shape)
        read, expected = table(places, factors), (reference(places) * factors[:, :, None]).sum(1)
        torch.testing.assert_close(read, expected)
        for values in (read, expected):
            (values.square() * torch.arange(1.0, 4.0)).sum().backward()
    rows, gradient = table.take_gradient().total(10)
    assert table.weight.grad is None
    assert rows.tolist() == list(dict.fromkeys(row for call in calls for pair in call for row in pair))
    assert reference.weight.grad is not None
    torch.testing.assert_close(torch.zeros(10, 3).index_add(0, rows, gradient), reference.weight.grad)


def test_the_shape_of_places() -> None:
    table = RowTable(10, 3, per_token=2)
    assert table(torch.zeros(4, 5, 2, dtype=torch.int64), torch.ones(4, 5, 2)).shape == (4, 5, 3)


def test_nothing_is_kept_outside_training() -> None:
    table, places = RowTable(4, 2, per_token=1).eval(), torch.tensor([[1], [2]])
    assert not table(places, torch.ones(2, 1)).requires_grad
    with torch.no_grad():
        table.train()(places, torch.ones(2, 1))
    assert table._read == []
