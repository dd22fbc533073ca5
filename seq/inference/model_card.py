"""The model card: what the model is, was trained on and can do, and how to run it, as the Hub of models expects it."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import seq
from seq.config import ClassifierConfig, Config, LanguageModelConfig, Seq2SeqConfig, TaggerConfig, Task
from seq.data.corpus import Vocabulary
from seq.run.result import chosen_step, without_folders
from seq.training.metrics import METRICS, show


@dataclass(frozen=True)
class About:
    """Words of the card for a task."""

    article: str
    usage: str
    """Python, with `model` as `seq.load` gives it."""
    use: str
    pipeline: str = "text-classification"
    """The Hub's name of the task."""


CLASSIFIER_USE = 'print(model.predict("..."))  # or a list of texts; model.probabilities(...)'
WRITES = (
    "To study and to play: it writes text in the style of its training data. What it writes is made up, and may repeat\n"
    "passages of the training text word for word."
)
ABOUT: dict[Task, About] = {
    "classification": About("A classifier", CLASSIFIER_USE, "To label short texts of the kind that it was trained on."),
    "multilabel": About(
        "A classifier of any number of labels a text",
        CLASSIFIER_USE,
        "To give labels to short texts of the kind that it was trained on.",
    ),
    "regression": About(
        "A regressor",
        'print(model.predict("..."))  # or a list of texts',
        "To estimate a number from short texts of the kind that it was trained on.",
    ),
    "tagging": About(
        "A tagger",
        'print(model.predict("..."))  # or a list of texts, or of lists of tokens',
        "To give a tag to each token of texts of the kind that it was trained on.",
        "token-classification",
    ),
    "seq2seq": About(
        "An encoder-decoder (encoder, attention, decoder)",
        'print(model.predict("..."))  # or a list of texts',
        "To write a sequence for texts of the kind that it was trained on.",
        "text2text-generation",
    ),
    "language_modeling": About(
        "A language model", 'print(model.generate("...", length=200)[0])', WRITES, "text-generation"
    ),
    "conditional_language_modeling": About(
        "A language model by label",
        "print(model.generate(label=model.labels[0], num=10))",
        WRITES,
        "text-generation",
    ),
}
NOT_FOR_PEOPLE = """\
**Not for decisions about people.** The model guesses the language area of a *spelling*. It does not know anyone's origin,
citizenship or ethnicity, is wrong for a quarter of all surnames, and worse for some origins than for others (see the table
above). Do not use it to sort, rank, select, price, admit or profile people, alone or as one feature among others."""
CAUTION = """\
Where the texts are names or words of people, a guess about a text says nothing certain about the person. Do not use it for
decisions about people."""
SCRIPTED: tuple[Task, ...] = ("classification", "multilabel", "regression", "tagging")
"""Tasks whose ONNX file a few lines of numpy can use; the others search or sample."""


def model_card(config: Config, vocabulary: Vocabulary, result: dict[str, Any]) -> str:
    """The card, as Markdown. It has no path and no name of the machine, and says what a classifier must not be used for."""
    return (
        _templates()
        .get_template("model_card.md")
        .render(
            config=config,
            source=without_folders(config.data.source),
            task=config.task,
            about=ABOUT[config.task],
            architecture=list(architecture(config, vocabulary)),
            tokenizer=vocabulary.tokenizer,
            labels=vocabulary.outputs.labels,
            files=[Path(name).name for name in config.data.files.model_dump().values() if name],
            result=result,
            step=chosen_step(result),
            metrics=METRICS,
            show=show,
            version=seq.__version__,
            folder=f"runs/{config.run.name}/model",
            script=onnx_script(config, vocabulary) if config.task in SCRIPTED else "",
            caution=NOT_FOR_PEOPLE if config.data.source == "names" else CAUTION,
        )
    )


def onnx_script(config: Config, vocabulary: Vocabulary) -> str:
    """Python that reads `model.onnx` and answers a text with numpy and onnxruntime alone. For the tasks in `SCRIPTED`."""
    template = _templates().get_template("onnx_script.py.jinja")
    return template.render(task=config.task, tokenizer=vocabulary.tokenizer)


def architecture(config: Config, vocabulary: Vocabulary) -> Iterator[str]:
    """The layers, one a line, from the tokens to the output."""
    model, size = config.model, vocabulary.outputs.size
    tokens, ngrams = vocabulary.tokenizer.vocab_size, getattr(model, "ngrams", 0)
    directions = "bidirectional " if getattr(model, "bidirectional", False) else ""
    yield f"an embedding of {tokens:,} tokens in {model.embedding_dim} dimensions"
    if ngrams > 1 and isinstance(model, LanguageModelConfig | TaggerConfig):
        ends = "end or begin" if isinstance(model, TaggerConfig) else "end"
        yield f"added to it, embeddings of the n-grams of 2 to {ngrams} tokens that {ends} there, {_hashed(model.ngram_buckets)}"
    yield f"{model.num_layers} {directions}GRU layer(s) of {model.hidden_size} units in each direction"
    if isinstance(model, Seq2SeqConfig):
        yield f"attention (Luong's) to the encoder's states, and a decoder GRU of {model.num_layers} layer(s)"
    if isinstance(model, ClassifierConfig):
        yield f"a linear layer from the last states to {size:,} outputs"
    else:
        yield f"a linear layer from each state to {tokens if config.task.endswith('language_modeling') else size:,} outputs"
    if ngrams and isinstance(model, ClassifierConfig):
        yield "added to them, outputs of all n-grams of the text, summed and divided by the root of the length: one row for each token"
        if ngrams > 1:
            yield f"of the n-grams of 2 to {ngrams} tokens, {_hashed(model.ngram_buckets)}"


def _hashed(buckets: int) -> str:
    return f"hashed to {buckets:,} rows for each order (h = (1103515245 h + id) mod (2^31 - 1) over the tokens' ids, from the first of a classifier's and from the position's own of other models, then mod the rows)"


def _plain(text: str) -> str:
    """A text of the data, such as a label, as one line of Markdown that shows it and is nothing else: no HTML, link or table."""
    return re.sub(r"([|\\`\[\]])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["zip"] = lambda first, second: zip(first, second, strict=True)
    environment.filters["plain"] = _plain
    environment.filters["code"] = lambda text: " ".join(str(text).replace("`", "'").split())
    return environment
