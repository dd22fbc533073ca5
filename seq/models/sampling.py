"""Draw tokens from a language model. Knows ids only, no text."""

from collections.abc import Iterator

import torch
from torch import Tensor

from seq.config import GenerationConfig
from seq.models.language_model import LanguageModel


@torch.inference_mode()
def sample_tokens(
    model: LanguageModel,
    prompt: Tensor,
    config: GenerationConfig,
    generator: torch.Generator,
    *,
    rows: int,
    forbidden: Tensor,
    unit_end: Tensor,
) -> Iterator[Tensor]:
    """Read `prompt` (T,), then yield `config.length` times the next token of each of `rows` texts, (rows,) on the CPU.

    `forbidden`: ids that are never drawn. `unit_end`: the ids that end a unit of training text; after them the state
    begins anew, as it did in training. Draws are made on the CPU from `generator`: the same seed gives the same text.
    Memory does not grow with the length. The caller sets eval mode.
    """
    device = next(model.parameters()).device
    one = torch.ones(rows, dtype=torch.int64)
    logits, hidden = model(prompt[None].to(device), torch.tensor([len(prompt)]))
    logits, hidden = logits.expand(rows, -1, -1), hidden.expand(-1, rows, -1)
    recent = prompt[None, -len(unit_end) :].expand(rows, -1) if len(unit_end) else prompt.new_empty(rows, 0)
    for _ in range(config.length):
        last = logits[:, -1].float().cpu().index_fill(1, forbidden, -torch.inf)
        token = _draw(last, config, generator)
        yield token
        recent = torch.cat([recent, token[:, None]], dim=1)[:, 1:] if len(unit_end) else recent
        ended = (recent == unit_end).all(1) & (len(unit_end) > 0)
        hidden = hidden.masked_fill(ended[None, :, None].to(device), 0)
        logits, hidden = model(token[:, None].to(device), one, hidden.contiguous())


def filter_logits(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """(B, V) logits divided by `temperature` (> 0), -inf outside the `top_k` likeliest and outside the smallest set
    with probability `top_p` (nucleus sampling, Holtzman and others, 2020). The likeliest token always stays."""
    logits = (logits - logits.max(-1, keepdim=True).values) / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1:
        ordered, places = logits.sort(descending=True, stable=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        outside = torch.zeros_like(before, dtype=torch.bool).scatter(1, places, before >= top_p)
        outside.scatter_(1, places[:, :1], value=False)
        logits = logits.masked_fill(outside, -torch.inf)
    return logits


def _draw(logits: Tensor, config: GenerationConfig, generator: torch.Generator) -> Tensor:
    if config.temperature < 1e-6:  # so cold that the quotient would overflow
        return logits.argmax(-1)
    kept = filter_logits(logits, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)
    return torch.multinomial(kept.softmax(-1), 1, generator=generator)[:, 0]
