"""The record of a run's steps, for comparison with a replay."""

import math
from dataclasses import dataclass
from pathlib import Path

from seq.run.json_lines import read_lines


@dataclass(frozen=True)
class RecordedSteps:
    figures: dict[int, dict[str, float | None]]
    """step -> `step_loss` and `grad_norm`, for the steps that the run logged."""
    digests: dict[int, dict[str, str]]
    """step -> parameter -> digest of its gradient, if `logging.digests` was on."""

    @classmethod
    def read(cls, folder: Path) -> "RecordedSteps":
        """Read `metrics.jsonl` and `digests.jsonl`. If a resumed run did a step again, the later line counts."""
        train = (line for line in read_lines(folder / "metrics.jsonl") if line.get("event") == "train")
        figures: dict[int, dict[str, float | None]] = {
            line["step"]: {name: line[name] for name in ("step_loss", "grad_norm") if name in line} for line in train
        }
        digests = (line for line in read_lines(folder / "digests.jsonl") if isinstance(line.get("gradients"), dict))
        return cls(figures, {line["step"]: line["gradients"] for line in digests})

    @property
    def last_step(self) -> int:
        return max([0, *self.figures, *self.digests])

    def differences(
        self, step: int, step_loss: float | None, grad_norm: float | None, digests: dict[str, str]
    ) -> list[str]:
        """Messages about what differs from the record of `step`, gradients first; empty if nothing differs."""
        recorded = self.digests.get(step, {})
        tensors = [name for name in recorded if recorded[name] != digests.get(name)]
        found = [f"gradient of {tensors[0]} (and {len(tensors) - 1} more of {len(recorded)})"] if tensors else []
        for name, value in (("step_loss", step_loss), ("grad_norm", grad_norm)):
            now = value if value is not None and math.isfinite(value) else None  # as JSON has it
            was = self.figures.get(step, {}).get(name, now)
            found += [] if was == now else [f"{name}: recorded {was!r}, replayed {value!r}"]
        return found
