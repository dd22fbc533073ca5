"""Draw tokens from a language model. Knows ids only, no text."""

from collections.abc import Iterator

import torch
from torch import Tensor

from seq.config import GenerationConfig
from seq.models.language_model import LanguageModel


def filter_logits(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """(B, V) logits divided by `temperature` (> 0), -inf outside the `top_k` likeliest and outside the smallest set
    with probability `top_p` (nucleus sampling, Holtzman and others, 2020). The likeliest token always stays."""
    logits = (logits - logits.max(-1, keepdim=True).values) / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1:
        ordered, places = logits.sort(descending=True, stable=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = (before >= top_p).scatter(1, places, before >= top_p)
        logits = logits.masked_fill(outside, -torch.inf)
    return logits


@torch.inference_mode()
def sample_tokens(
    model: LanguageModel, prompts: Tensor, config: GenerationConfig, generator: torch.Generator, *, forbidden: Tensor
) -> Iterator[Tensor]:
    """Read `prompts` (B, T), then yield `config.length` times the next tokens (B,), on the CPU.

    `forbidden`: ids that are never drawn. Draws are made on the CPU from `generator`: the same seed gives the same
    text. Memory does not grow with the length. The caller sets eval mode.
    """
    device = next(model.parameters()).device
    prompt_lengths = torch.full((len(prompts),), prompts.shape[1])
    one = torch.ones(len(prompts), dtype=torch.int64)
    logits, hidden = model.step(prompts.to(device), prompt_lengths, None)
    for _ in range(config.length):
        last = logits[:, -1].float().cpu().index_fill(1, forbidden, -torch.inf)
        token = _draw(last, config, generator)
        yield token
        logits, hidden = model.step(token[:, None].to(device), one, hidden)


def _draw(logits: Tensor, config: GenerationConfig, generator: torch.Generator) -> Tensor:
    if config.temperature == 0:
        return logits.argmax(-1)
    kept = filter_logits(logits, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)
    return torch.multinomial(kept.softmax(-1), 1, generator=generator)[:, 0]
