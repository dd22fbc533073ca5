"""Draw tokens from a language model. It knows ids, not text."""

from collections.abc import Iterator

import torch
from torch import Tensor

from launch.device import to_device
from seq.config import MAX_NGRAM, GenerationConfig
from seq.models.language_model import LanguageModel

RECENT = 64
"""Number of last tokens that the repetition penalty applies to."""


@torch.inference_mode()
def sample_tokens(
    model: LanguageModel,
    prompt: Tensor,
    config: GenerationConfig,
    generator: torch.Generator,
    *,
    rows: int,
    written: Tensor,
    forbidden: Tensor,
    unit_end: Tensor,
    label: int | None = None,
) -> Iterator[Tensor]:
    """Read `prompt` (T,), then yield `config.length` times the next token of each of `rows` texts, (rows,) on the CPU.

    `written` (N,), N >= 1: all tokens of the text before, also those that the model does not read because they belong to earlier units;
    the repetition penalty counts them. `forbidden`: ids that are never drawn. `unit_end`: the ids that end a unit of training text; after them the state is
    reset, as it was in training. `label`: for a model that writes by label. Tokens are drawn on the CPU from `generator`, so
    the same seed gives the same text; the host waits for a GPU once a token. Memory does not grow with the length. The caller
    sets eval mode.
    """
    device = next(model.parameters()).device
    one = torch.ones(rows, dtype=torch.int64)
    labels = None if label is None else torch.tensor([label], device=device)
    logits, hidden = model(to_device(prompt[None], device), torch.tensor([len(prompt)]), labels=labels)
    logits, hidden = logits.expand(rows, -1, -1), hidden.expand(-1, rows, -1)
    recent = written[None, -RECENT:].expand(rows, -1)
    preceding = torch.nn.functional.pad(prompt, (MAX_NGRAM, 0))[None, 1 - MAX_NGRAM :].expand(rows, -1)
    for _ in range(config.length):
        last = logits[:, -1].float().cpu().index_fill(1, forbidden, -torch.inf)
        token = _draw(penalise(last, recent, config.repetition_penalty), config, generator)
        yield token
        recent = torch.cat([recent, token[:, None]], dim=1)[:, -RECENT:]
        if len(unit_end):
            ended = (recent[:, -len(unit_end) :] == unit_end).all(1)
            hidden = hidden.masked_fill(to_device(ended, device)[None, :, None], 0)
            preceding = preceding.masked_fill(ended[:, None], 0)
        read, before = to_device(token[:, None], device), to_device(preceding, device)
        logits, hidden = model(read, one, hidden.contiguous(), preceding=before)
        preceding = torch.cat([preceding, token[:, None]], dim=1)[:, 1:]


def penalise(logits: Tensor, recent: Tensor, penalty: float) -> Tensor:
    """(B, V) logits with those of the tokens `recent` (B, R) divided by `penalty` where positive, else multiplied
    (Keskar and others, 2019)."""
    if penalty == 1:
        return logits
    chosen = logits.gather(1, recent)
    return logits.scatter(1, recent, torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def filter_logits(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """(B, V) logits divided by `temperature` (> 0), -inf outside the `top_k` likeliest (of equally likely ones those of lower ids) and
    outside the smallest set with probability `top_p` (nucleus sampling, Holtzman and others, 2020). The likeliest token always stays."""
    logits = (logits - logits.max(-1, keepdim=True).values) / temperature
    if 0 < top_k < logits.shape[-1]:
        likeliest = logits.sort(descending=True, stable=True).indices[:, :top_k]
        logits = torch.full_like(logits, -torch.inf).scatter(1, likeliest, logits.gather(1, likeliest))
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
