"""Text in, text out: what a language model writes after a prompt."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from launch.seeding import derive_seed
from seq.config import Config, GenerationConfig
from seq.data.cut import Unit, newline_id, unit_end
from seq.data.tokenizer import BOS, EOS, PAD, UNKNOWN, Tokenizer
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens

FORBIDDEN = torch.tensor([PAD, BOS, UNKNOWN])


@dataclass(frozen=True)
class Writer:
    """A language model with what it takes to write text. Leaves the model in eval mode."""

    model: LanguageModel
    tokenizer: Tokenizer
    unit: Unit
    """The unit of the training text."""

    def generate(
        self, prompt: str, config: GenerationConfig, *, seed: int, num: int = 1, label: int | None = None
    ) -> list[str]:
        """`num` texts that go on after `prompt`, which they do not contain, written together; each ends at EOS, before
        `config.stop`, or after `config.length` tokens. `label`: of a model that writes by label."""
        columns, running = [], torch.ones(num, dtype=torch.bool)
        for column in self._tokens(prompt, config, seed, num, label):
            columns.append(column)
            running &= column != EOS
            if not running.any():
                break
        texts = [self.tokenizer.decode(_until_end(row)) for row in torch.stack(columns, dim=1).tolist()]
        return [text.partition(config.stop)[0] if config.stop else text for text in texts]

    def stream(self, prompt: str, config: GenerationConfig, *, seed: int, label: int | None = None) -> Iterator[str]:
        """What `generate` writes as one text, piece by piece as it is drawn."""
        tokens = map(int, self._tokens(prompt, config, seed, 1, label))
        pieces = self.tokenizer.decode_each(takewhile(lambda token: token != EOS, tokens))
        return _until(pieces, config.stop) if config.stop else pieces

    def _tokens(
        self, prompt: str, config: GenerationConfig, seed: int, num: int, label: int | None
    ) -> Iterator[Tensor]:
        self.model.eval()
        return sample_tokens(
            self.model,
            encode_prompt(self.tokenizer, prompt, self.unit),
            config,
            torch.Generator().manual_seed(seed),
            rows=num,
            forbidden=FORBIDDEN,
            unit_end=torch.tensor(unit_end(self.unit, newline_id(self.tokenizer)), dtype=torch.int64),
            label=label,
        )


def encode_prompt(tokenizer: Tokenizer, prompt: str, unit: Unit) -> Tensor:
    """The unit in which the prompt ends, with its token of context in front, as a training sequence has it."""
    mark = "\n" * len(unit_end(unit, newline_id(tokenizer)))
    _, found, begun = prompt.rpartition(mark) if mark else ("", "", prompt)
    context = [newline_id(tokenizer)] if found else [BOS]
    return torch.tensor([*context, *tokenizer.encode([begun]).values.tolist()])


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS)] if EOS in tokens else tokens


def _until(pieces: Iterator[str], stop: str) -> Iterator[str]:
    """Up to the first `stop`; what may be its beginning is held back."""
    held = ""
    for piece in pieces:
        text, found, _ = (held + piece).partition(stop)
        if found:
            yield text
            return
        ready = max(0, len(text) + 1 - len(stop))
        yield text[:ready]
        held = text[ready:]
    yield held


def write_samples(writer: Writer, labels: tuple[str, ...], config: Config, step: int) -> Iterator[dict[str, Any]]:
    """One sample for each of `generation.prompts`, and for each label if the model writes by label; what it says
    depends on the weights, the seed and the step."""
    by_label = config.task == "write_by_label"
    places: list[tuple[int | None, str]] = list(enumerate(labels)) if by_label else [(None, "")]
    for number, prompt in enumerate(config.generation.prompts):
        for label, name in places:
            key = (step, number) if label is None else (step, number, label)
            seed = derive_seed(config.run.seed, "sample", *key)
            (text,) = writer.generate(prompt, config.generation, seed=seed, label=label)
            yield {"prompt": prompt, "text": text} | ({"label": name} if by_label else {})
