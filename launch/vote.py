"""A witness: one shard of a step is computed by a second rank too. If their bits differ, a device computes wrongly; a vote says which.

Any rank can compute any shard, to the last bit. So a comparison needs no tolerance, and it finds every wrong bit of the shard that it looks
at. The vote asks the two ranks again, and a third if there is one. Who is asked follows from (seed, step).
"""

from collections import Counter
from typing import NamedTuple

import torch

from launch.collectives import sum_over_ranks
from launch.seeding import derive_seed

Digests = tuple[int, ...]
"""They stand for one shard's loss and gradients, in a fixed order. Each has at most 63 bits."""


class Roles(NamedTuple):
    """Who computes the shard `shard` of a step."""

    shard: int
    owner: int
    """Its gradients go into the sum."""
    witness: int
    """Another rank; the owner if there is no other."""
    asked: list[int]
    """Those that compute it again if owner and witness differ, and a third if there is one. Each has one vote more, so that a device which
    always makes the same mistake does not win."""


class Verdict(NamedTuple):
    ranks: list[int]
    """The ranks that computed wrongly; if `certain` is False, those of which one did."""
    certain: bool
    repeated: bool
    """They did so again when they were asked again."""


def roles_of(seed: int, step: int, shards: list[range]) -> Roles:
    """`shards`: those of each rank (`launch.tree.share`). A rank without shards gets no role."""
    shard = derive_seed(seed, "witnessed shard", step) % max(own.stop for own in shards)
    owner = next(rank for rank, own in enumerate(shards) if shard in own)
    others = [rank for rank, own in enumerate(shards) if own and rank != owner] or [owner]
    first = derive_seed(seed, "witness", step) % len(others)
    witness, *third = (others[first:] + others[:first])[:2]
    return Roles(shard, owner, witness, list(dict.fromkeys([owner, witness, *third])))


def exchange(own: dict[int, Digests], size: tuple[int, int], device: torch.device) -> list[Digests]:
    """The rows of a table of this size, on every rank; each row comes from one rank. `own`: this rank's rows, by their places."""
    table = torch.zeros(size, dtype=torch.int64, device=device)
    for place, digests in own.items():
        table[place] = torch.tensor(digests, device=device)
    return [tuple(row) for row in sum_over_ranks(table).tolist()]


def judge(ranks: list[int], votes: list[Digests]) -> Verdict:
    """What most votes agree on is right. `votes`, one of each of `ranks`: of owner and witness, which differ, and of all that were asked
    again."""
    (right, most), *others = Counter(votes).most_common(2)
    if others and others[0][1] == most:
        suspects = sorted(set(ranks[:2]))
        alone = len(suspects) == 1  # three results, all different: two of them are wrong
        return Verdict(suspects, certain=alone, repeated=alone)
    wrong = [rank for rank, vote in zip(ranks, votes, strict=True) if vote != right]
    return Verdict(sorted(set(wrong)), certain=True, repeated=len(wrong) > len(set(wrong)))
