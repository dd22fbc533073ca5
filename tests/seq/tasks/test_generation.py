from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st

from seq.config import GenerationConfig, LanguageModelConfig
from seq.data.cut import Unit
from seq.data.tokenizer import BOS, Tokenizer
from seq.models.language_model import LanguageModel
from seq.tasks.generation import Writer, _until, encode_prompt

TOKENIZER = Tokenizer.train("characters", ["ab\n"], lowercase=False, min_count=1)
FEED, A, B = TOKENIZER.encode(["\nab"]).values.tolist()


def prompt(text: str, unit: Unit) -> list[int]:
    return encode_prompt(TOKENIZER, text, unit).tolist()


def test_a_prompt_begins_as_a_training_sequence_does() -> None:
    assert prompt("", "paragraph") == [BOS]
    assert prompt("a\nb", "paragraph") == [BOS, A, FEED, B]
    assert prompt("a\n\nb", "paragraph") == [FEED, B]
    assert prompt("a\n\n", "paragraph") == [FEED]
    assert prompt("a\nb", "line") == [FEED, B]
    assert prompt("a\n\nb", "document") == [BOS, A, FEED, FEED, B]
    plain = Tokenizer(kind="characters", characters="ab")
    assert encode_prompt(plain, "a\n\nb", "paragraph").tolist() == [BOS, 4, 3, 3, 5]


@given(st.text("abc", max_size=12), st.text("abc", min_size=1, max_size=4), st.integers(1, 5))
def test_up_to_the_stop_text_however_it_is_cut(text: str, stop: str, size: int) -> None:
    pieces: Iterator[str] = (text[start : start + size] for start in range(0, len(text), size))
    assert "".join(_until(pieces, stop)) == text.partition(stop)[0]


def test_a_stream_is_the_text_in_pieces() -> None:
    """Also where a character has several bytes, and where the bytes are none."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(kind="bytes")
    model = LanguageModel(LanguageModelConfig(hidden_size=8, embedding_dim=6), tokenizer.vocab_size)
    writer = Writer(model, tokenizer, "document")
    for stop in ("", "e", "\ufffd"):
        config = GenerationConfig(length=300, temperature=1.0, stop=stop)
        for seed in range(3):
            pieces = list(writer.stream("a", config, seed=seed))
            assert ["".join(pieces)] == writer.generate("a", config, seed=seed)
            assert stop or len(pieces) > 100


def test_labels_lead_to_other_texts() -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(hidden_size=8, embedding_dim=6, num_layers=2, condition="label")
    model = LanguageModel(config, TOKENIZER.vocab_size, num_labels=3)
    model.label_embedding.weight.data.mul_(5)
    writer, settings = Writer(model, TOKENIZER, "document"), GenerationConfig(length=40, temperature=0.0)
    model.output.weight.data.mul_(20)
    texts = [writer.generate("", settings, seed=1, label=label)[0] for label in range(3)]
    assert len(set(texts)) == 3
    batch, lengths = torch.tensor([[1, 4], [1, 4]]), torch.tensor([2, 1])
    logits, _ = model(batch, lengths, labels=torch.tensor([0, 2]))
    for row, label in enumerate([0, 2]):
        alone = model(batch[row : row + 1, : lengths[row]], lengths[row : row + 1], labels=torch.tensor([label]))[0]
        torch.testing.assert_close(logits[row : row + 1, : lengths[row]], alone)
