"""What a run wrote down about its steps, to compare a replay with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RecordedSteps:
    figures: dict[int, dict[str, float]]
    """step -> `loss` and `grad_norm`, where the run logged them."""
    digests: dict[int, dict[str, str]]
    """step -> parameter -> digest of its gradient, if `logging.digests` was on."""

    @classmethod
    def read(cls, folder: Path) -> "RecordedSteps":
        """From `metrics.jsonl` and `digests.jsonl`. Where a resumed run did a step again, the later line counts."""
        train = [line for line in _lines(folder / "metrics.jsonl") if line.get("event") == "train"]
        figures = {line["step"]: {name: line[name] for name in ("loss", "grad_norm")} for line in train}
        return cls(figures, {line["step"]: line["gradients"] for line in _lines(folder / "digests.jsonl")})

    @property
    def last_step(self) -> int:
        return max([0, *self.figures, *self.digests])

    def differences(self, step: int, loss: float, grad_norm: float, digests: dict[str, str]) -> list[str]:
        """In words, what of `step` is other than recorded, the first tensor first; empty if nothing is."""
        recorded = self.digests.get(step, {})
        tensors = [name for name in recorded if recorded[name] != digests.get(name)]
        found = [f"gradient of {tensors[0]} (and {len(tensors) - 1} more of {len(recorded)})"] if tensors else []
        for name, value in (("loss", loss), ("grad_norm", grad_norm)):
            was = self.figures.get(step, {}).get(name, value)
            found += [] if was == value else [f"{name}: recorded {was!r}, replayed {value!r}"]
        return found


def _lines(path: Path) -> list[dict[str, Any]]:
    """A line that a kill tore is left out: a resumed run wrote its step again."""
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    return [parsed for line in lines if isinstance(parsed := _parse(line), dict) and "step" in parsed]


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
