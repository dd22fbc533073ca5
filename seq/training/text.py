"""Text in, text out: prompts for a language model, what it writes after them."""

from collections.abc import Iterator
from typing import Any

import torch

from launch.seeding import derive_seed
from seq.config import Config, GenerationConfig
from seq.data.tokenizer import BOS, EOS, PAD, UNKNOWN, Tokenizer
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens

FORBIDDEN = torch.tensor([PAD, BOS, UNKNOWN])


def generate(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, config: GenerationConfig, *, seed: int, num: int = 1
) -> list[str]:
    """`num` texts that go on after `prompt`, which they do not contain; each ends at EOS or after `config.length`."""
    columns = torch.stack(list(_tokens(model, tokenizer, prompt, config, seed=seed, num=num)), dim=1)
    return [tokenizer.decode(_until_end(row)) for row in columns.tolist()]


def _tokens(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, config: GenerationConfig, *, seed: int, num: int
) -> Iterator[torch.Tensor]:
    ids = torch.tensor([[BOS, *tokenizer.encode([prompt]).values.tolist()]]).expand(num, -1)
    model.eval()
    yield from sample_tokens(model, ids, config, torch.Generator().manual_seed(seed), forbidden=FORBIDDEN)
    model.train()


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS)] if EOS in tokens else tokens


def write_samples(model: LanguageModel, tokenizer: Tokenizer, config: Config, step: int) -> list[dict[str, Any]]:
    """One sample for each of `generation.prompts`; what it says depends on the weights, the seed and the step."""
    return [
        {
            "prompt": prompt,
            "text": generate(
                model,
                tokenizer,
                prompt,
                config.generation,
                seed=derive_seed(config.run.seed, "sample", step, number),
            )[0],
        }
        for number, prompt in enumerate(config.generation.prompts)
    ]
