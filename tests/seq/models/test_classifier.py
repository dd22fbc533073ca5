import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seq.config import ClassifierConfig
from seq.models.classifier import Classifier
from tests.seq.models.test_gru import Lengths


def padded_ids(lengths: list[int], vocab_size: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(sum(lengths))
    inputs = torch.randint(1, vocab_size, (len(lengths), max(lengths)))
    outside = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return inputs.masked_fill(outside, 0), torch.tensor(lengths)


@given(Lengths, st.booleans(), st.integers(1, 2))
def test_classifier_does_not_see_padding(lengths: list[int], bidirectional: bool, layers: int) -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(hidden_size=5, embedding_dim=4, num_layers=layers, bidirectional=bidirectional)
    model = Classifier(config, 9, 3).double()
    inputs, tensor = padded_ids(lengths)
    together = model(inputs, tensor)[0]
    alone = [model(inputs[row : row + 1, :length], tensor[row : row + 1])[0] for row, length in enumerate(lengths)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_classifier_reads_both_directions() -> None:
    """The lecture's own code reads `hidden[-1]`, the backward direction alone."""
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(hidden_size=5, embedding_dim=4), 9, 3)
    inputs, lengths = padded_ids([3, 5])
    model(inputs, lengths)[0].sum().backward()
    gradients = {name: p.grad.abs().sum().item() for name, p in model.gru.named_parameters() if p.grad is not None}
    assert len(gradients) == 8
    assert min(gradients.values()) > 0
    expected = torch.cat([model.gru(model.embedding(inputs), lengths)[1][side] for side in (0, 1)], dim=1)
    torch.testing.assert_close(model(inputs, lengths)[0], model.output(expected))
