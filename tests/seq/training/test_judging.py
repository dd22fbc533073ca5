import pytest

from seq.config import DataConfig
from seq.data.corpus import Corpus, prepare_corpus
from seq.inference.samples import Judge

TEXT = "The quick brown fox jumps over the lazy dog. " * 3 + "It was a bright cold day in April, and the clocks struck."


@pytest.fixture
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("judge") / "text.txt"
    path.write_text(TEXT)
    files = {"train": str(path), "validation": str(path)}
    config = DataConfig(source="text", files=files, unit="document", cache_dir=str(path.parent / "cache"))  # type: ignore[arg-type]
    return prepare_corpus(config, "write")


def judge(corpus: Corpus, *texts: str) -> dict[str, float]:
    samples, together = Judge(corpus).judge([{"text": text} for text in texts])
    assert [sample["text"] for sample in samples] == list(texts)
    if len(texts) == 1:
        assert samples == [{"text": texts[0]} | together]
    return together


def test_figures_are_those_of_a_slow_loop(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = "clocks struck. It was a bright cold DOG qzx, over the fox"
    grams = [sample[i : i + 20] for i in range(len(sample) - 19)]
    for block in (7, 1 << 20):
        monkeypatch.setattr(judging, "_BLOCK", block)
        found = judge(corpus, sample)
        assert found["copied"] == sum(gram in TEXT for gram in grams) / len(grams)
    assert found["known_words"] == 11 / 12
    assert found["distinct_3"] == 1


def test_repetition_and_memorisation_show(corpus: Corpus) -> None:
    assert judge(corpus, TEXT)["copied"] == 1
    assert judge(corpus, "dog dog dog dog dog", "dog dog dog")["distinct_3"] == 1 / 4


def test_what_cannot_be_said_is_left_out(corpus: Corpus) -> None:
    assert judge(corpus, "") == {}
    assert judge(corpus, "fox") == {"known_words": 1.0}


def test_no_samples_are_judged_as_nothing(corpus: Corpus) -> None:
    """`generation.prompts=[]` asks for none."""
    assert Judge(corpus).judge([]) == ([], {})
