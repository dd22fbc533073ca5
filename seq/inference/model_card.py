"""The model card: what the model is, was trained on and can do, and how to run it, as the Hub of models expects it."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import seq
from seq.config import ClassifierConfig, Config, LanguageModelConfig, Seq2SeqConfig, TaggerConfig
from seq.data.outputs import Vocabulary
from seq.models import Model
from seq.run.environment import without_folders
from seq.run.result import chosen_step
from seq.tasks import METRICS, Task, show

NOT_FOR_PEOPLE = """\
**Not for decisions about people.** The model guesses the language area of a *spelling*. It does not know anyone's origin,
citizenship or ethnicity, is wrong for a quarter of all surnames, and worse for some origins than for others (see the table
above). Do not use it to sort, rank, select, price, admit or profile people, alone or as one feature among others."""
CAUTION = """\
Where the texts are names or words of people, a guess about a text says nothing certain about the person. Do not use it for
decisions about people."""


def model_card(model: Model, config: Config, task: Task, vocabulary: Vocabulary, result: dict[str, Any]) -> str:
    """The card, as Markdown. It has no path and no name of the machine, and says what a classifier must not be used for."""
    return (
        _templates()
        .get_template("model_card.md")
        .render(
            config=config,
            source=without_folders(config.data.source),
            about=task.card,
            architecture=list(architecture(model, config, task, vocabulary)),
            tokenizer=vocabulary.tokenizer,
            labels=vocabulary.outputs.labels,
            files=[Path(name).name for name in config.data.files.model_dump().values() if name],
            result=result,
            step=chosen_step(result),
            metrics=METRICS,
            show=show,
            version=seq.__version__,
            folder=f"runs/{config.run.name}/model",
            script=onnx_script(config, task, vocabulary) if task.card.script else "",
            caution=NOT_FOR_PEOPLE if config.data.source == "names" else CAUTION,
        )
    )


def onnx_script(config: Config, task: Task, vocabulary: Vocabulary) -> str:
    """Python that reads `model.onnx` and answers a text, whose columns are its arguments, without lockstep."""
    several = len(config.data.text_columns) > 1
    begin = _templates().get_template("onnx_script.py.jinja").render(tokenizer=vocabulary.tokenizer, several=several)
    return f"{begin}\n{task.card.script}".rstrip()


def architecture(model: Model, config: Config, task: Task, vocabulary: Vocabulary) -> Iterator[str]:
    """The layers, one a line, from the tokens to the output."""
    sizes, size = config.model, vocabulary.outputs.size
    if sizes.own_class:
        yield f"`{sizes.own_class}`, a class of its own, whose code is in `config.json` under `run.code`, with these parts:"
        for name, part in model.named_children():
            yield f"`{name}`: {type(part).__name__}, {sum(each.numel() for each in part.parameters()):,} parameters"
        return
    tokens, ngrams = vocabulary.tokenizer.vocab_size, getattr(sizes, "ngrams", 0)
    directions = "bidirectional " if getattr(sizes, "bidirectional", False) else ""
    layer = type(model.gru.layers[0]).__name__
    yield f"an embedding of {tokens:,} tokens in {sizes.embedding_dim} dimensions"
    if ngrams > 1 and isinstance(sizes, LanguageModelConfig | TaggerConfig):
        ends = "end or begin" if isinstance(sizes, TaggerConfig) else "end"
        yield f"added to it, embeddings of the n-grams of 2 to {ngrams} tokens that {ends} there, {_hashed(sizes.ngram_buckets)}"
    yield f"{sizes.num_layers} {directions}{layer} layer(s) of {sizes.hidden_size} units in each direction"
    if isinstance(sizes, Seq2SeqConfig):
        yield f"attention (Luong's) to the encoder's states, and a decoder {layer} of {sizes.num_layers} layer(s)"
    if isinstance(sizes, ClassifierConfig):
        yield f"a linear layer from the last states to {size:,} outputs"
    else:
        yield f"a linear layer from each state to {tokens if task.predicts_text else size:,} outputs"
    if ngrams and isinstance(sizes, ClassifierConfig):
        yield "added to them, outputs of all n-grams of the text, summed and divided by the root of the length: one row for each token"
        if ngrams > 1:
            yield f"of the n-grams of 2 to {ngrams} tokens, {_hashed(sizes.ngram_buckets)}"


def _hashed(buckets: int) -> str:
    return f"hashed to {buckets:,} rows for each order (h = (1103515245 h + id) mod (2^31 - 1) over the tokens' ids, from the first of a classifier's and from the position's own of other models, then mod the rows)"


def _plain(text: str) -> str:
    """Return a text of the data, such as a label, as one line of Markdown that only shows the text, without HTML, links or tables."""
    return re.sub(r"([|\\`\[\]])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["zip"] = lambda first, second: zip(first, second, strict=True)
    environment.filters["plain"] = _plain
    environment.filters["code"] = lambda text: " ".join(str(text).replace("`", "'").split())
    return environment
