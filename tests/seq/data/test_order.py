import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data.order import LengthOrder, permute
from seq.data.stored import write


@given(st.integers(1, 3000), st.integers(0, 2**63 - 1))
def test_every_place_exactly_once(size: int, seed: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, seed)), np.arange(size))


@given(st.integers(1, 10**15), st.integers(0, 2**63 - 1), st.data())
def test_one_place_can_be_asked_for_alone(size: int, seed: int, data: st.DataObject) -> None:
    places = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5)))
    together = permute(places, size, seed)
    assert ((together >= 0) & (together < size)).all()
    assert together.tolist() == [permute(places[i : i + 1], size, seed)[0] for i in range(len(places))]


def test_it_shuffles() -> None:
    """Over many seeds each place is equally likely to come first: chi-squared, 9 degrees of freedom, p = 0.001."""
    first = np.bincount([permute(np.array([0]), 10, seed * 7919)[0] for seed in range(5000)], minlength=10)
    assert ((first - 500) ** 2 / 500).sum() < 27.9
    shuffled = permute(np.arange(1000), 1000, 3)
    assert abs(np.corrcoef(shuffled, np.arange(1000))[0, 1]) < 0.1
    assert (np.diff(shuffled) == 1).sum() < 10


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
def test_all_orders_of_a_few_things_are_equally_likely(size: int) -> None:
    """Chi-squared over all permutations, at least 20 draws of each; at p = 1e-4 by its normal approximation."""
    number = 20 * math.factorial(size)
    seeds = np.repeat(np.arange(number, dtype=np.uint64) * np.uint64(7919), size)
    drawn = permute(np.tile(np.arange(size), number), size, seeds).reshape(number, size)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    chi = float(((counts - 20) ** 2 / 20).sum()) + 20 * (math.factorial(size) - len(counts))
    freedom = math.factorial(size) - 1
    assert abs(chi - freedom) < 4 * math.sqrt(2 * freedom) + 8


@pytest.mark.parametrize("size", [10, 200, 256, 257, 400])
def test_neighbours_are_parted(size: int) -> None:
    """Each place goes everywhere equally often, and so does the next one from it."""
    draws = np.array([permute(np.arange(size), size, seed * 7919) for seed in range(40_000 // size)])
    steps = (draws[:, 1] - draws[:, 0]) % size - 1
    for values, number in ((draws[:, 0], size), (steps, size - 1), (draws[:, -1], size)):
        counts = np.bincount(values * 9 // number, minlength=9)
        expected = np.bincount(np.arange(number) * 9 // number, minlength=9) / number * len(draws)
        assert ((counts - expected) ** 2 / expected).sum() < 40


Lengths = st.lists(st.integers(1, 40), min_size=1, max_size=300)


@given(Lengths)
def test_length_order_on_disk(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    """The longest first, equals in the order of the data set; read back as it was."""
    order, stem = LengthOrder.of(np.array(lengths)), tmp_path_factory.mktemp("order") / "train"
    write(stem.parent, {}, {f"train.{part}": getattr(order, part) for part in ("lengths", "start", "order")})
    found = LengthOrder.open(stem)
    assert len(found) == len(lengths)
    assert found.order.tolist() == sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for number, length in enumerate(found.length):
        places = found.order[found.start[number] : found.start[number + 1]]
        assert {lengths[row] for row in places} == {int(length)}
