from seq.data.cut import Unit
from seq.data.tokenizer import BOS, Tokenizer
from seq.training.text import encode_prompt

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
