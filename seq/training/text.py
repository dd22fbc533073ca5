"""Text in, text out: what a language model writes after a prompt."""

from collections.abc import Iterator
from typing import Any

import torch

from launch.seeding import derive_seed
from seq.config import Config, GenerationConfig
from seq.data.cut import Unit, newline_id, unit_end
from seq.data.tokenizer import BOS, EOS, PAD, UNKNOWN, Tokenizer
from seq.models.language_model import LanguageModel
from seq.models.sampling import sample_tokens

FORBIDDEN = torch.tensor([PAD, BOS, UNKNOWN])


def generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    config: GenerationConfig,
    *,
    unit: Unit,
    seed: int,
    num: int = 1,
) -> list[str]:
    """`num` texts that go on after `prompt`, which they do not contain; each ends at EOS or after `config.length`.
    `unit`: the unit of the training text. Leaves the model in eval mode."""
    model.eval()
    tokens = sample_tokens(
        model,
        encode_prompt(tokenizer, prompt, unit),
        config,
        torch.Generator().manual_seed(seed),
        rows=num,
        forbidden=FORBIDDEN,
        unit_end=torch.tensor(unit_end(unit, newline_id(tokenizer)), dtype=torch.int64),
    )
    columns, running = [], torch.ones(num, dtype=torch.bool)
    for column in tokens:
        columns.append(column)
        running &= column != EOS
        if not running.any():
            break
    return [tokenizer.decode(_until_end(row)) for row in torch.stack(columns, dim=1).tolist()]


def encode_prompt(tokenizer: Tokenizer, prompt: str, unit: Unit) -> torch.Tensor:
    """The unit in which the prompt ends, with its token of context in front, as a training sequence has it."""
    mark = "\n" * len(unit_end(unit, newline_id(tokenizer)))
    _, found, begun = prompt.rpartition(mark) if mark else ("", "", prompt)
    context = [newline_id(tokenizer)] if found else [BOS]
    return torch.tensor([*context, *tokenizer.encode([begun]).values.tolist()])


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(EOS)] if EOS in tokens else tokens


def write_samples(model: LanguageModel, tokenizer: Tokenizer, config: Config, step: int) -> Iterator[dict[str, Any]]:
    """One sample for each of `generation.prompts`; what it says depends on the weights, the seed and the step."""
    for number, prompt in enumerate(config.generation.prompts):
        seed = derive_seed(config.run.seed, "sample", step, number)
        (text,) = generate(model, tokenizer, prompt, config.generation, unit=config.data.unit, seed=seed)
        yield {"prompt": prompt, "text": text}
