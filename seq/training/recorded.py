"""What a run wrote down about its steps, to compare a replay with."""

import math
from dataclasses import dataclass
from pathlib import Path

from seq.training.json_lines import read_lines


@dataclass(frozen=True)
class RecordedSteps:
    figures: dict[int, dict[str, float | None]]
    """step -> `loss` and `grad_norm`, where the run logged them."""
    digests: dict[int, dict[str, str]]
    """step -> parameter -> digest of its gradient, if `logging.digests` was on."""

    @classmethod
    def read(cls, folder: Path) -> "RecordedSteps":
        """From `metrics.jsonl` and `digests.jsonl`. Where a resumed run did a step again, the later line counts."""
        train = [line for line in read_lines(folder / "metrics.jsonl") if line.get("event") == "train"]
        figures: dict[int, dict[str, float | None]] = {
            line["step"]: {name: line[name] for name in ("loss", "grad_norm") if name in line} for line in train
        }
        digests = [line for line in read_lines(folder / "digests.jsonl") if isinstance(line.get("gradients"), dict)]
        return cls(figures, {line["step"]: line["gradients"] for line in digests})

    @property
    def last_step(self) -> int:
        return max([0, *self.figures, *self.digests])

    def differences(self, step: int, loss: float | None, grad_norm: float | None, digests: dict[str, str]) -> list[str]:
        """In words, what of `step` is other than recorded, the first tensor first; empty if nothing is."""
        recorded = self.digests.get(step, {})
        tensors = [name for name in recorded if recorded[name] != digests.get(name)]
        found = [f"gradient of {tensors[0]} (and {len(tensors) - 1} more of {len(recorded)})"] if tensors else []
        for name, value in (("loss", loss), ("grad_norm", grad_norm)):
            now = value if value is not None and math.isfinite(value) else None  # as JSON has it
            was = self.figures.get(step, {}).get(name, now)
            found += [] if was == now else [f"{name}: recorded {was!r}, replayed {value!r}"]
        return found
