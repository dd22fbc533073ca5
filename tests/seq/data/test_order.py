import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq.data.order import LengthOrder, permute


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


Lengths = st.lists(st.integers(1, 40), min_size=1, max_size=300)


@given(Lengths)
def test_length_order_on_disk(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    """The longest first, equals in the order of the data set; read back as it was."""
    order, stem = LengthOrder.of(np.array(lengths)), tmp_path_factory.mktemp("order") / "train"
    order.save(stem)
    found = LengthOrder.open(stem)
    assert len(found) == len(lengths)
    assert found.order.tolist() == sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for number, length in enumerate(found.length):
        places = found.order[found.start[number] : found.start[number + 1]]
        assert {lengths[row] for row in places} == {int(length)}
