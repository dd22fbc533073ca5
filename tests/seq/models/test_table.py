"""A table whose gradient is that of `nn.Embedding`, for the rows that were read."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seq.models.table import RowTable


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=3))
def test_gradient_of_several_calls(calls: list[list[int]]) -> None:
    table, reference = RowTable(10, 3, per_token=1), nn.Embedding(10, 3)
    table.weight.data.copy_(reference.weight.data)
    factors = torch.arange(1.0, 4.0)
    for places in calls:
        read, expected = table(torch.tensor(places)), reference(torch.tensor(places))
        assert torch.equal(read, expected)
        for values in (read, expected):
            (values.square() * factors).sum().backward()
    rows, gradient = table.take_gradient()
    assert table.weight.grad is None
    assert len(rows) == sum(len(set(places)) for places in calls)
    assert reference.weight.grad is not None
    torch.testing.assert_close(torch.zeros(10, 3).index_add(0, rows, gradient), reference.weight.grad)


def test_nothing_is_kept_outside_training() -> None:
    table = RowTable(4, 2, per_token=1).eval()
    assert not table(torch.tensor([1, 2])).requires_grad
    with torch.no_grad():
        table.train()(torch.tensor([1, 2]))
    assert table._read == []
