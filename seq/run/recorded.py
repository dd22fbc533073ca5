"""Read the figures and digests that a run has recorded of its steps, and compare them with others."""

import math
from dataclasses import dataclass
from pathlib import Path

from seq.run.json_lines import read_lines

FIGURES = ("step_loss", "grad_norm")


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
            line["step"]: {name: line[name] for name in FIGURES if name in line} for line in train
        }
        digests = (line for line in read_lines(folder / "digests.jsonl") if isinstance(line.get("gradients"), dict))
        return cls(figures, {line["step"]: line["gradients"] for line in digests})

    @classmethod
    def of(cls, step: int, step_loss: float, grad_norm: float, digests: dict[str, str] | None) -> "RecordedSteps":
        """One step, as it would be recorded: JSON has null where a number is not finite."""
        figures = {"step_loss": step_loss, "grad_norm": grad_norm}
        finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        return cls({step: finite}, {step: digests or {}})

    @property
    def last_step(self) -> int:
        return max([0, *self.figures, *self.digests])

    def steps_of_both(self, other: "RecordedSteps") -> list[int]:
        return sorted({*self.figures, *self.digests} & {*other.figures, *other.digests})

    def differences(self, other: "RecordedSteps", step: int) -> list[str]:
        """Messages about what differs in a step, as far as both have recorded it, gradients first; empty if nothing differs."""
        own, others = self.digests.get(step, {}), other.digests.get(step, {})
        names = list(own | others) if own and others else []
        tensors = [name for name in names if own.get(name) != others.get(name)]
        found = [f"gradient of {tensors[0]} (and {len(tensors) - 1} more of {len(names)})"] if tensors else []
        was, now = self.figures.get(step, {}), other.figures.get(step, {})
        return found + [
            f"{name}: {was[name]!r} and {now[name]!r}" for name in was if name in now and was[name] != now[name]
        ]
