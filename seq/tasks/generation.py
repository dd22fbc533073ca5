"""Write text with a language model."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from seq.config import GenerationConfig
from seq.data.cut import Unit, newline_id, unit_end
from seq.data.tokenizer import BOS, EOS, PAD, UNKNOWN, Tokenizer
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens

FORBIDDEN = torch.tensor([PAD, BOS, UNKNOWN])


@dataclass(frozen=True)
class Writer:
    """A language model and its tokenizer. Writing leaves the model in eval mode."""

    model: LanguageModel
    tokenizer: Tokenizer
    unit: Unit
    """The unit of the training text."""

    def generate(
        self, prompt: str, config: GenerationConfig, *, seed: int, num: int = 1, label: int | None = None
    ) -> list[str]:
        """`num` texts that continue `prompt` and do not contain it, written together. Each ends at EOS, before
        `config.stop`, or after `config.length` tokens. `label`: for a model that writes by label."""
        columns, running = [], torch.ones(num, dtype=torch.bool)
        for column in self._tokens(prompt, config, seed, num, label):
            columns.append(column)
            running &= column != EOS
            if not running.any():
                break
        texts = [self.tokenizer.decode(_until_end(row)) for row in torch.stack(columns, dim=1).tolist()]
        return [text.partition(config.stop)[0] if config.stop else text for text in texts]

    def stream(self, prompt: str, config: GenerationConfig, *, seed: int, label: int | None = None) -> Iterator[str]:
        """The text that `generate` writes, in pieces as they are drawn."""
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
            written=torch.tensor([BOS, *self.tokenizer.encode([prompt]).values.tolist()]),
            forbidden=FORBIDDEN,
            unit_end=torch.tensor(unit_end(self.unit, newline_id(self.tokenizer)), dtype=torch.int64),
            label=label,
        )


def encode_prompt(tokenizer: Tokenizer, prompt: str, unit: Unit) -> Tensor:
    """The unit in which the prompt ends, after its token of context, as in a training sequence."""
    mark = "\n" * len(unit_end(unit, newline_id(tokenizer)))
    _, found, begun = prompt.rpartition(mark) if mark else ("", "", prompt)
    context = [newline_id(tokenizer)] if found else [BOS]
    return torch.tensor([*context, *tokenizer.encode([begun]).values.tolist()])


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS)] if EOS in tokens else tokens


def _until(pieces: Iterator[str], stop: str) -> Iterator[str]:
    """The pieces up to the first `stop`. Text that may be the beginning of `stop` is held back."""
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
