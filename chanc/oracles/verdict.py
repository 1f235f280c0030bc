"""What the judges found: what was compared, in which arithmetic, how far it was apart, and what that says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chanc.oracles.compare import Difference, worst


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison.

    subject: what was compared with the original, in words. judge: "float32" (onnxruntime) or "float64" (PyTorch, or
    ONNX's reference); "none" where nothing could be computed. agrees: None where the judge can't tell, for `reason`.
    noise: how far rounding alone takes the original's outputs in float32, where it was measured. groups: the ids of the
    groups whose rewrite it speaks of. deaf: the outputs hardly depend on the inputs, and would not show a wrong group.
    """

    subject: str
    judge: str
    differences: tuple[Difference, ...]
    agrees: bool | None
    noise: float | None = None
    reason: str = ""
    groups: tuple[str, ...] = ()
    deaf: bool = False

    @property
    def error(self) -> float:
        """The largest difference of an output, relative to its largest entry."""
        return worst(self.differences)

    def __str__(self) -> str:
        if self.agrees is None:
            return f"{self.subject}: can't tell, {self.reason}"
        where = "" if self.judge == "float32" else f" in {self.judge}"
        if not self.agrees:
            worst = max(self.differences, key=lambda found: found.error, default=None)
            said = f"output '{worst.output}' differs by {worst.error:.1e} of its largest value{where}" if worst else ""
            return self.reason or said
        if not self.differences:
            return self.subject
        noise = "" if self.noise is None else f"; in float32 rounding makes {self.noise:.1e}"
        deaf = ", whatever comes in" if self.deaf else ""
        return f"{self.subject} (largest difference{where} {self.error:.1e}{noise}{deaf})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings on one rewrite; its differences, output by output, are those of the first.

    seconds: on the clock, by what they went to: loading models ("sessions"), their "runs", "comparing", "float64", and
    "twins", which is all that makes the models that are compared.
    """

    findings: tuple[Finding, ...]
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Iterator[Difference]:
        return iter([difference for finding in self.findings[:1] for difference in finding.differences])

    def __str__(self) -> str:
        return "; ".join(map(str, self.findings))

    @property
    def agrees(self) -> bool | None:
        """False where a judge found a difference, None where one can't tell, else True."""
        said = [finding.agrees for finding in self.findings]
        return False if False in said else None if None in said else True

    @property
    def wrong(self) -> Finding | None:
        """The first finding of a difference."""
        return next((finding for finding in self.findings if finding.agrees is False), None)
