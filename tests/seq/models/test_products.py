"""Products of several shards have the bits of each shard on its own, whatever the sizes."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seq.models.products import LARGE, Affine, RowProducts, add_product, aligned, empty, multiply

Sizes = st.one_of(st.integers(1, 40), st.sampled_from([4, 8, 12, 16, 20, 24, 32, 44, 64, 96, 128, 384]))
Types = st.sampled_from([torch.float32, torch.bfloat16])


def alone(shards: Tensor, number: int) -> Tensor:
    """A shard in memory of its own, as it is if a pass has no other."""
    return shards[number : number + 1].clone()


@given(st.integers(2, 8), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), Types)
def test_a_linear_layer_of_a_view(shards: int, rows: int, inner: int, columns: int, dtype: torch.dtype) -> None:
    """What a layer gets may be a part of a tensor, which begins anywhere in memory."""
    torch.manual_seed(0)
    everything, weight = torch.randn(shards + 1, rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    inputs, gradient = everything[1:], torch.randn(shards + 1, rows, columns).to(dtype)[1:]
    found = _affine(inputs, gradient, weight)
    for number in range(shards):
        own = slice(number, number + 1)
        one = _affine(inputs[own], gradient[own], weight)
        assert all(torch.equal(whole[own], part) for whole, part in zip(found, one, strict=True))


def _affine(inputs: Tensor, gradient: Tensor, weight: Tensor) -> list[Tensor]:
    inputs, weights = inputs.detach().requires_grad_(), weight.expand(inputs.shape[0], -1, -1).clone().requires_grad_()
    outputs = Affine.apply(inputs, weights, None)  # type: ignore[no-untyped-call]
    return [outputs, *torch.autograd.grad(outputs, [inputs, weights], gradient)]


@given(st.integers(1, 8), Sizes, Sizes, Sizes, Types, st.integers(0, 99))
def test_products_do_not_depend_on_the_number_of_shards(
    shards: int, rows: int, inner: int, columns: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    inputs, weight, bias = torch.randn(shards, rows, inner), torch.randn(columns, inner), torch.randn(columns)
    inputs, gradient = inputs.to(dtype), torch.randn(shards, rows, columns).to(dtype)
    weights, biases = weight.to(dtype).expand(shards, -1, -1), bias.to(dtype).expand(shards, -1)
    total = empty(inputs, rows, inner).fill_(1.0)
    forward, backward = multiply(inputs, weights.transpose(1, 2), biases), multiply(gradient.transpose(1, 2), inputs)
    add_product(total, gradient, weights)
    for number in range(shards):
        own, other = alone(inputs, number), alone(gradient, number)
        assert torch.equal(forward[number], multiply(own, weights[:1].transpose(1, 2), biases[:1])[0])
        assert torch.equal(backward[number], multiply(other.transpose(1, 2), own)[0])
        one = torch.ones(1, rows, inner, dtype=dtype)
        add_product(one, other, weights[:1])
        assert torch.equal(total[number], one[0])
    exact = inputs.double() @ weight.to(dtype).double().t() + bias.to(dtype).double()
    torch.testing.assert_close(forward.double(), exact, rtol=0.02, atol=0.2 if dtype == torch.bfloat16 else 1e-3)


@given(st.integers(1, 4), st.integers(1, 3), Sizes, Sizes, Sizes, Types)
def test_products_of_rows(shards: int, rows: int, left: int, inner: int, right: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    sizes = (shards * rows, left, inner), (shards * rows, inner, right)
    first, second = (torch.randn(size).to(dtype).requires_grad_() for size in sizes)
    products = RowProducts.apply(first, second, shards)  # type: ignore[no-untyped-call]
    products.backward(torch.ones_like(products))
    for number in range(shards):
        own = slice(number * rows, (number + 1) * rows)
        one, other = (part.detach()[own].clone().requires_grad_() for part in (first, second))
        found = RowProducts.apply(one, other, 1)  # type: ignore[no-untyped-call]
        found.backward(torch.ones_like(found))
        assert torch.equal(products[own], found)
        for whole, part in ((first.grad, one.grad), (second.grad, other.grad)):
            assert whole is not None
            assert part is not None
            assert torch.equal(whole[own], part)


def test_memory_of_every_shard_is_aligned() -> None:
    odd = torch.randn(3, 5, 7)
    copied = aligned(odd)
    assert torch.equal(copied, odd)
    assert all(shard.data_ptr() % 64 == 0 for shard in copied)
    even, shared = torch.randn(3, 4, 16), torch.randn(5, 7).expand(3, 5, 7)
    assert aligned(even) is even
    assert aligned(shared) is shared


def test_large_and_uneven_products_are_computed_one_by_one() -> None:
    """Both ways are tested above; here, that both are taken."""
    from seq.models import products

    def in_one_call(rows: int, inner: int, columns: int) -> bool:
        return products._in_one_call(torch.empty(4, rows, inner), torch.empty(4, inner, columns))

    assert in_one_call(16, 96, 288)
    assert not in_one_call(15, 96, 288)
    assert in_one_call(4, 96, 288)
    assert not in_one_call(8, 16, 32)
    assert not in_one_call(16, 1, 288)
    assert not in_one_call(32, 1024, LARGE // 1024)
