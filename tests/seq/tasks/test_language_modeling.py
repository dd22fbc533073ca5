"""The samples of a language model's evaluation."""

from pathlib import Path

from seq.config.read import parse_config
from seq.data.corpus import prepare_corpus
from seq.models import build_model
from seq.tasks import task_of
from seq.tasks.task import samples_of


def test_one_for_each_prompt_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog.\n\n" * 9)
    tree = {
        "data": {"source": "text", "files": {"train": str(tmp_path / "text.txt")}},
        "model": {"kind": "language_model", "hidden_size": 8},
        "generation": {"prompts": ["The", ""], "length": 9},
    }
    config = parse_config(tree, where="test")
    corpus = prepare_corpus(config.data, task_of(config))
    model = build_model(config, vocab_size=corpus.tokenizer.vocab_size, num_outputs=1)
    first, again, later = (samples_of(task_of(config), model, config, corpus, step) for step in (3, 3, 4))
    assert model.training
    assert [sample["prompt"] for sample in first] == ["The", ""]
    assert first == again != later
    none = config.model_copy(update={"generation": config.generation.model_copy(update={"prompts": ()})})
    assert samples_of(task_of(config), model, none, corpus, 3) == []
