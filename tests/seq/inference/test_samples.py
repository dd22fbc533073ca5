import pytest

from seq.config import Config, DataConfig
from seq.data.corpus import Corpus, prepare_corpus
from seq.inference import samples
from seq.inference.samples import TextSamples

TEXT = "The quick brown fox jumps over the lazy dog. " * 3 + "It was a bright cold day in April, and the clocks struck."


@pytest.fixture
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("judge") / "text.txt"
    path.write_text(TEXT)
    files = {"train": str(path), "validation": str(path)}
    config = DataConfig(source="text", files=files, unit="document", cache_dir=str(path.parent / "cache"))  # type: ignore[arg-type]
    return prepare_corpus(config, "write")


def score(corpus: Corpus, *texts: str) -> dict[str, float]:
    each, together = TextSamples(Config(), corpus).score([{"text": text} for text in texts])
    assert [sample["text"] for sample in each] == list(texts)
    if len(texts) == 1:
        assert each == [{"text": texts[0]} | together]
    return together


def test_figures_are_those_of_a_slow_loop(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = "clocks struck. It was a bright cold DOG qzx, over the fox"
    grams = [sample[i : i + 20] for i in range(len(sample) - 19)]
    for block in (7, 1 << 20):
        monkeypatch.setattr(samples, "_BLOCK", block)
        found = score(corpus, sample)
        assert found["copied"] == sum(gram in TEXT for gram in grams) / len(grams)
    assert found["known_words"] == 11 / 12
    assert found["distinct_3"] == 1


def test_repetition_and_memorisation_show(corpus: Corpus) -> None:
    assert score(corpus, TEXT)["copied"] == 1
    assert score(corpus, "dog dog dog dog dog", "dog dog dog")["distinct_3"] == 1 / 4


def test_what_cannot_be_said_is_left_out(corpus: Corpus) -> None:
    assert score(corpus, "") == {}
    assert score(corpus, "fox") == {"known_words": 1.0}


def test_no_samples_have_no_figures(corpus: Corpus) -> None:
    """`generation.prompts=[]` asks for none."""
    assert TextSamples(Config(), corpus).score([]) == ([], {})
