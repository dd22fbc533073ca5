import pytest
import torch
from torch import Tensor

from seq.config import GenerationConfig, LanguageModelConfig
from seq.models.language_model import LanguageModel
from seq.models.sampling import filter_logits, penalise, sample_tokens

LOGITS = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]))


def kept(**options: float) -> list[list[int]]:
    settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    return [row.isfinite().nonzero().flatten().tolist() for row in filter_logits(LOGITS, **settings)]  # type: ignore[arg-type]


def test_filters() -> None:
    assert kept() == [[0, 1, 2, 3]] * 2
    assert kept(top_k=2) == [[0, 1], [2, 3]]
    assert kept(top_k=99) == [[0, 1, 2, 3]] * 2
    assert kept(top_p=0.69) == [[0, 1], [2, 3]]
    assert kept(top_p=0.71) == [[0, 1, 2], [1, 2, 3]]
    assert kept(top_p=1e-9) == [[0], [3]]
    halved = filter_logits(LOGITS, temperature=0.5, top_k=0, top_p=1.0).softmax(-1)
    torch.testing.assert_close(halved[0], torch.tensor([16.0, 9, 4, 1]) / 30)
    assert filter_logits(LOGITS, temperature=1e-30, top_k=0, top_p=1.0).softmax(-1)[0].tolist() == [1, 0, 0, 0]


def test_penalty_makes_recent_tokens_less_likely() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    assert penalise(logits, torch.tensor([[0, 1, 0]]), 2.0).tolist() == [[1.0, -2.0, 0.5]]
    assert penalise(logits, torch.tensor([[0, 1, 0]]), 1.0) is logits


def test_top_k_keeps_at_most_k() -> None:
    """Also of equally likely tokens."""
    equal = filter_logits(torch.zeros(2, 5), temperature=1.0, top_k=2, top_p=1.0)
    assert equal.isfinite().tolist() == [[True, True, False, False, False]] * 2


def make_model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(hidden_size=8, embedding_dim=6, ngrams=4), 10).eval()


def draw(
    model: LanguageModel,
    *,
    seed: int = 0,
    rows: int = 1,
    unit_end: tuple[int, ...] = (),
    written: tuple[int, ...] = (1, 5, 6),
    **options: float,
) -> Tensor:
    config = GenerationConfig(**{"length": 12} | options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    tokens = sample_tokens(
        model,
        torch.tensor([1, 5, 6]),
        config,
        generator,
        rows=rows,
        written=torch.tensor(written),
        forbidden=torch.tensor([0, 1]),
        unit_end=torch.tensor(unit_end, dtype=torch.int64),
    )
    return torch.stack(list(tokens), dim=1)


def test_temperature_0_is_the_argmax_loop() -> None:
    model = make_model()
    tokens = torch.tensor([[1, 5, 6]])
    for _ in range(12):
        logits = model(tokens, torch.tensor([tokens.shape[1]]))[0][:, -1]
        logits[:, :2] = -torch.inf
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    assert draw(model, temperature=0.0).tolist() == tokens[:, 3:].tolist()


def test_same_seed_same_tokens_and_forbidden_ids_never() -> None:
    model = make_model()
    many = draw(model, rows=64, temperature=5.0)
    assert torch.equal(many, draw(model, rows=64, temperature=5.0))
    assert not torch.equal(many, draw(model, rows=64, temperature=5.0, seed=1))
    assert many.min() >= 2
    assert len(set(map(tuple, many.tolist()))) > 60


def test_the_penalty_counts_the_whole_prompt() -> None:
    """Also what belongs to an earlier unit, which the model does not read."""
    model = make_model()
    (plain,) = draw(model, temperature=0.0, length=1)[0].tolist()
    assert draw(model, temperature=0.0, length=1, repetition_penalty=1e6)[0].tolist() == [plain]
    punished = draw(model, temperature=0.0, length=1, repetition_penalty=1e6, written=(plain, 1, 5, 6))
    assert punished[0].tolist() != [plain]


def test_one_token_is_no_end_of_two() -> None:
    """At the beginning of a text, where there is nothing but BOS before the first token."""
    model = make_model()
    model.output.bias.data[7] += 9
    found = [draw(model, temperature=0.0, length=6, written=(1,), unit_end=end)[0].tolist() for end in ((), (7, 7))]
    assert found[0][0] == 7
    assert found[1][:2] == found[0][:2]


@pytest.mark.parametrize("unit_end", [(7,), (7, 7)])
def test_the_state_begins_anew_after_a_unit(unit_end: tuple[int, ...]) -> None:
    """What follows a unit's end depends on its last token alone, as in training."""
    model = make_model()
    model.output.bias.data[7] += 3
    tokens = draw(model, unit_end=unit_end, temperature=0.0, length=30)[0].tolist()
    ends = [place for place in range(2, 29) if tuple(tokens[place + 1 - len(unit_end) : place + 1]) == unit_end]
    assert ends
    first_after = model(torch.tensor([[7]]), torch.tensor([1]))[0][0, -1]
    first_after[:2] = -torch.inf
    assert {tokens[place + 1] for place in ends} == {int(first_after.argmax())}
