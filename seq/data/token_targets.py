"""Per-token targets: the next tokens, a tag for each token, or another sequence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq.config import DataConfig
from seq.data.cut import frame, limit_length, split_evenly
from seq.data.examples import Examples, Target
from seq.data.outputs import IGNORE_INDEX, Coded, Outputs
from seq.data.plan import ShardSizes
from seq.data.ragged import Ints, RaggedArray, at_least
from seq.data.row_targets import Label, ids_or_none, label_ids
from seq.data.tokenizer import Tokenizer, join_tokens, split_tokens
from seq.errors import UserError


class NextToken:
    """The next token at every position of the text itself. A sequence's last token is only a target."""

    def read(self, value: Any, config: DataConfig) -> Target:
        raise AssertionError("a text has no target column")

    def learn(self, targets: Sequence[Any], config: DataConfig) -> Outputs:
        return Outputs()

    def labels(self, target: Any) -> Sequence[str]:
        return ()

    def examples(
        self, tokens: RaggedArray, split: Examples, outputs: Outputs, config: DataConfig, notes: list[str]
    ) -> tuple[RaggedArray, Coded]:
        raise AssertionError("a text is cut with all its splits, in seq.data.encode")

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths - 1

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: None, outputs: Outputs) -> dict[str, Tensor]:
        """Inputs are all tokens but the last, targets all but the first; an empty row is one step of padding."""
        tokens, lengths = torch.from_numpy(at_least(padded, 2)), torch.from_numpy(stored - 1)
        outside = torch.arange(tokens.shape[1] - 1) >= lengths[:, None]
        inputs, targets = tokens[:, :-1].masked_fill(outside, 0), tokens[:, 1:].masked_fill(outside, IGNORE_INDEX)
        return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}

    def show(self, target: Any, outputs: Outputs) -> str | None:
        return None


class NextTokenByLabel(Label):
    """The next token of a text whose label is given."""

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths - 1

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: Ints, outputs: Outputs) -> dict[str, Tensor]:
        own = {"labels": ids_or_none(chosen).clamp(min=0)}
        return NextToken().batch(padded, stored, None, outputs) | own

    def show(self, target: Any, outputs: Outputs) -> str | None:
        return None


class Tags:
    """A tag for each token. Coded like the tokens, by their places in `Outputs.labels`."""

    def read(self, value: Any, config: DataConfig) -> tuple[str, ...]:
        tags = value.split() if isinstance(value, str) else value
        if not isinstance(tags, list | tuple):
            raise ValueError(f"holds {value!r}, not a list of tags")
        return tuple(map(str, tags))

    def learn(self, targets: Sequence[tuple[str, ...]], config: DataConfig) -> Outputs:
        return Outputs(labels=tuple(sorted({tag for row in targets for tag in row})))

    def labels(self, target: tuple[str, ...]) -> Sequence[str]:
        return target

    def examples(
        self, tokens: RaggedArray, split: Examples, outputs: Outputs, config: DataConfig, notes: list[str]
    ) -> tuple[RaggedArray, Coded]:
        """A long text is cut into pieces, each with its tags. Without markers: there is nothing to predict for them."""
        for row, text, tags in zip(split.rows, split.texts, split.targets or (), strict=True):
            if (count := text.count(" ") + 1) != len(tags):
                raise UserError(f"{split.origin} row {row}: {count} tokens, but {len(tags)} tags; each token needs one")
        ids = label_ids(split, split.targets or (), outputs)
        coded = RaggedArray.of([np.array(row, np.int32) for row in ids])
        if config.too_long in ("auto", "split"):
            return split_evenly(tokens, config.max_length), split_evenly(coded, config.max_length)
        limits = (split.origin, split.rows, config)
        return limit_length(tokens, *limits, notes, markers=0)[0], limit_length(coded, *limits, [], markers=0)[0]

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        return sequences.lengths

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: RaggedArray, outputs: Outputs) -> dict[str, Tensor]:
        inputs, lengths = torch.from_numpy(at_least(padded, 1)), torch.from_numpy(stored)
        tags = np.zeros_like(padded) if not len(chosen) else chosen.pad(np.arange(len(chosen)))[0]
        outside = torch.arange(inputs.shape[1]) >= lengths[:, None]
        targets = torch.from_numpy(at_least(tags, 1)).masked_fill(outside, IGNORE_INDEX)
        return {"inputs": inputs, "lengths": lengths.clamp(min=1), "targets": targets}

    def show(self, target: list[int], outputs: Outputs) -> str | None:
        return " ".join(outputs.labels[tag] for tag in target if tag >= 0)


class Written:
    """Another sequence. Coded as its token ids with markers around them."""

    def read(self, value: Any, config: DataConfig) -> str:
        tokens = join_tokens(value) if isinstance(value, list) else value
        if not isinstance(tokens, str) or not tokens.strip():
            raise ValueError("is empty" if not tokens else f"holds {value!r}, not text")
        return " ".join(split_tokens(tokens)) if config.target_tokenizer == "tokens" else tokens

    def learn(self, targets: Sequence[str], config: DataConfig) -> Outputs:
        kind, size = config.target_tokenizer, config.vocab_size
        return Outputs(tokenizer=Tokenizer.train(kind, targets, lowercase=False, min_count=1, vocab_size=size))

    def labels(self, target: str) -> Sequence[str]:
        return ()

    def examples(
        self, tokens: RaggedArray, split: Examples, outputs: Outputs, config: DataConfig, notes: list[str]
    ) -> tuple[RaggedArray, Coded]:
        assert outputs.tokenizer is not None
        tokens, kept = limit_length(tokens, split.origin, split.rows, config, notes, markers=0)
        split = split.take(kept)
        origin, targets = f"{split.origin} ({config.label})", outputs.tokenizer.encode(split.targets or ())
        targets, kept = limit_length(targets, origin, split.rows, config, notes, markers=0)
        return frame(tokens.take(kept)), frame(targets)

    def time_steps(self, sequences: RaggedArray, coded: Coded) -> Ints:
        assert isinstance(coded, RaggedArray)
        return np.column_stack((sequences.lengths, coded.lengths - 1))

    def count(self, sizes: ShardSizes) -> int:
        return int(sizes.target_tokens.sum())

    def batch(self, padded: Ints, stored: Ints, chosen: RaggedArray, outputs: Outputs) -> dict[str, Tensor]:
        """The decoder's inputs and the targets are those of a language model."""
        own = chosen if len(chosen) else RaggedArray.of([np.empty(0, np.int64)])
        tokens, sizes = own.pad(np.arange(len(own)))
        decoder = NextToken().batch(tokens, sizes, None, outputs)
        return {
            "inputs": torch.from_numpy(at_least(padded, 1)),
            "lengths": torch.from_numpy(stored).clamp(min=1),
            "targets": decoder["targets"],
            "target_inputs": decoder["inputs"],
            "target_lengths": decoder["lengths"],
        }

    def show(self, target: list[int], outputs: Outputs) -> str | None:
        assert outputs.tokenizer is not None
        return outputs.tokenizer.decode(target)
