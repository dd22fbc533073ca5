"""Standard errors, against draws of whole data sets."""

import numpy as np
import pytest

from seq.tasks.confusion import macro_f1_error, per_class
from seq.tasks.metrics import clustered_error, share_error


def test_of_a_share() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.3, 100_000) / 200
    assert share_error(0.3, 200) == pytest.approx(draws.std(), rel=0.01)


def test_of_tokens_that_are_alike_within_a_sequence() -> None:
    """200 sentences of 5 to 30 tokens, each of its own difficulty."""
    random = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        sizes = random.integers(5, 31, 200)
        return random.binomial(sizes, random.beta(4, 1, 200)), sizes

    shares = [right.sum() / sizes.sum() for right, sizes in (draw() for _ in range(4000))]
    found = []
    for _ in range(200):
        right, sizes = draw()
        sums = (int(np.sum(right**2)), int(np.sum(right * sizes)), int(np.sum(sizes**2)))
        found.append(clustered_error(sums, right.sum() / sizes.sum(), int(sizes.sum())))
    assert np.mean(found) == pytest.approx(np.std(shares), rel=0.05)
    assert np.mean(found) > 1.5 * share_error(0.8, int(sizes.sum()))


def test_of_macro_f1() -> None:
    confusion = np.array([[50, 20, 3], [10, 40, 0], [2, 2, 9]])
    draws = np.random.default_rng(1).multinomial(confusion.sum(), confusion.ravel() / confusion.sum(), 20_000)
    f1 = [np.mean([row["f1"] for row in per_class(draw.reshape(3, 3))]) for draw in draws[:6000]]
    assert macro_f1_error(confusion) == pytest.approx(np.std(f1), rel=0.05)
    assert macro_f1_error(np.array([[7]])) == 0
