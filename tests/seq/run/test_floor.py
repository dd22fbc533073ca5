from typing import Any

import pytest

from seq.config.read import parse_config
from seq.models import build_model
from seq.run.floor import flops_per_token


def of_gru(inputs: int, size: int, directions: int) -> int:
    """docs/performance.md: three products, forward and twice that backward."""
    return 3 * 6 * size * (inputs + size) * directions


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"kind": "classifier", "ngrams": 2}, of_gru(8, 16, 2)),
        ({"kind": "tagger", "num_layers": 2}, of_gru(8, 16, 2) + of_gru(32, 16, 2) + 3 * 2 * 32 * 5),
        ({"kind": "language_model"}, of_gru(8, 16, 1) + 3 * 2 * 16 * 11),
        ({"kind": "language_model", "embedding_dim": 16, "tie_weights": True}, of_gru(16, 16, 1) + 3 * 2 * 16 * 11),
    ],
)
def test_flops_of_a_token(model: dict[str, Any], expected: int) -> None:
    sizes = {"embedding_dim": 8, "hidden_size": 16} | model
    built = build_model(parse_config({"model": sizes}, where="test"), vocab_size=11, num_outputs=5)
    assert flops_per_token(built) == expected
