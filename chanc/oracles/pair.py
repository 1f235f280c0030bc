"""One comparison of two models: in float32 first, in float64 where that disagrees or can't be had."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.backends import ort
from chanc.errors import ModelError
from chanc.ir import load
from chanc.oracles.compare import TOLERANCE, Array, Difference, compare, worst
from chanc.oracles.double import in_double
from chanc.oracles.loops import too_long
from chanc.oracles.outputs import Feeds, Single, in_single, output_names, runnable
from chanc.oracles.spent import Spent
from chanc.oracles.verdict import Finding

_STEP = 2.0**-23
"""The last digit of a float32."""

_NOISES = 30
"""A difference of this many times what one digit of the inputs does may be rounding."""

_FAINT = 1e-2
"""Outputs that differ less from input to input, of their largest entry, would not show what a wrong group does."""

_CANDIDATES = 4
"""Invented inputs that are tried where onnxruntime can't be asked."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """How models are compared with one original: on which inputs, and how near is near enough.

    tries: the inputs, several where onnxruntime can't say which of them fit. trouble: why the original can't be run at
    all, or why onnxruntime runs it on none of the inputs that were invented, else empty; there is a try then if float64
    runs it on one. tolerance: of the largest entry of an output. guessed: sizes of the inputs were made up, of more
    than the batch, and nobody could say whether they fit. first: a model that ran on the first inputs already, and its
    outputs. spent: what the time goes to.
    """

    tries: Sequence[Feeds]
    trouble: str = ""
    tolerance: float = TOLERANCE
    guessed: bool = False
    first: tuple[Any, list[Array]] | None = None
    spent: Spent = field(default_factory=Spent)

    def compare(self, expected: Any, actual: Any, subject: str, *, listen: bool = False) -> Finding:
        """Whether two models of the original's interface compute the same; `subject` says what they are.

        With `listen` the finding tells whether that is the same for any input. Raises: ModelError where the expected
        one can't be run on the inputs, or by nothing that is there.
        """
        if self.trouble:
            return self._elsewhere(expected, actual, subject)
        try:
            want = self._outputs(expected) if self.tries else []
        except ort.LoadError as error:
            return self._in_double(expected, actual, subject, str(error))
        try:
            have = self._outputs(actual)
        except ModelError as error:
            return Finding(subject, "float32", (), False, reason=f"{subject}: {error}")
        with self.spent.on("comparing"):
            found = tuple(compare(want, have, output_names(expected)))
        if not any(map(_speaks, want)):
            return Finding(subject, "float32", found, None, reason="no output of the original has a finite number")
        if worst(found) <= self.tolerance:
            return Finding(subject, "float32", found, True, deaf=listen and self._deaf(expected, want))
        return self._again(expected, actual, want, found, subject)

    def _outputs(self, model: Any) -> list[Array]:
        """What a model computes of the first inputs; what is known isn't run again."""
        if self.first is not None and self.first[0] is model:
            return self.first[1]
        return in_single(model, self.tries[0], self.spent)

    def _deaf(self, model: Any, outputs: list[Array]) -> bool:
        """Whether the outputs of a model hardly depend on its inputs: of another sample, or of other inputs."""
        feeds = self.tries[0]
        arrays = [*feeds.values(), *outputs]
        if all(array.ndim and len(array) == len(arrays[0]) > 1 for array in arrays):
            others = [array[::-1] for array in outputs]
        elif any(np.issubdtype(array.dtype, np.floating) for array in feeds.values()):
            others = in_single(model, _negated(feeds), self.spent)
        else:
            return False
        return worst(compare(outputs, others, output_names(model))) <= _FAINT

    def _again(
        self, expected: Any, actual: Any, want: list[Array], found: tuple[Difference, ...], subject: str
    ) -> Finding:
        """The judgement in float64 of what disagrees in float32; without one, by the noise of the original itself."""
        with self.spent.on("float64"):
            both, names, judge = in_double(expected, actual, self.tries[0]), output_names(expected), "float32"
        if both is None:
            noise = _NOISES * worst(compare(want, in_single(expected, _shaken(self.tries[0]), self.spent), names))
        else:
            noise, judge = worst(compare(both[0], want, names)), "float64"
            found = tuple(compare(*both, names))
        if worst(found) <= self.tolerance:
            return Finding(subject, judge, found, True, noise)
        if worst(found) <= noise:
            told = f"they differ by {worst(found):.1e} in {judge}, and rounding alone may make {noise:.1e}"
            return Finding(subject, judge, found, None, noise, told)
        return Finding(subject, judge, found, False, noise)

    def _elsewhere(self, expected: Any, actual: Any, subject: str) -> Finding:
        """The judgement where onnxruntime fails: to agree in float64 is a proof, to differ may be the inputs' fault."""
        both = in_double(expected, actual, self.tries[0]) if self.tries else None
        if both is not None and any(map(_speaks, both[0])):
            found = tuple(compare(*both, output_names(expected)))
            if worst(found) <= self.tolerance:
                return Finding(subject, "float64", found, True)
        return Finding(subject, "none", (), None, reason=self.trouble)

    def _in_double(self, expected: Any, actual: Any, subject: str, reason: str) -> Finding:
        """The judgement of what onnxruntime can't load: float64 alone."""
        for feeds in self.tries:
            both = in_double(expected, actual, feeds)
            if both is not None:
                return self._at_these_sizes(tuple(compare(*both, output_names(expected))), subject)
        raise ModelError(f"{reason}; PyTorch and ONNX's reference can't run it either")

    def _at_these_sizes(self, found: tuple[Difference, ...], subject: str) -> Finding:
        """To agree is a proof; to differ may be the fault of sizes that fit nothing in the model."""
        if worst(found) <= self.tolerance or not self.guessed:
            return Finding(subject, "float64", found, worst(found) <= self.tolerance)
        told = f"they differ by {worst(found):.1e} at made-up sizes, and onnxruntime can't say which fit"
        return Finding(subject, "float64", found, None, reason=told)


def pairing(
    original: Any,
    feeds: Feeds | None,
    *,
    batch: int = 2,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    tolerance: float = TOLERANCE,
    expected: Any = None,
    spent: Spent | None = None,
) -> Pairing:
    """The comparison with `original` on the given inputs, else on random ones that onnxruntime runs it on.

    `batch` is the size of an open first axis, `sizes` has those of other open axes, by name. expected: the model of the
    same graph that will be compared, if it is known; then its run on the inputs is the one that shows that they fit.
    spent: counts what the time goes to. Raises: MissingDependencyError without onnxruntime.
    """
    spent = spent or Spent()
    original = original if isinstance(original, ir.Model) else load(original)
    if reason := too_long(original):
        return Pairing([], f"it can't be run: {reason}", tolerance, spent=spent)
    if feeds is not None:
        return Pairing([feeds], tolerance=tolerance, spent=spent)
    original = runnable(original)
    first = _first(original, original if expected is None else expected, seed, batch, sizes, spent)
    if first is not None:
        return Pairing([first[0]], tolerance=tolerance, first=first[1:], spent=spent)
    try:
        fit = [ort.fitting_feeds(original, seed, batch=batch, sizes=sizes)]
        return Pairing(fit, tolerance=tolerance, spent=spent)
    except ort.LoadError as error:
        reason, loads = str(error), False
    except ModelError as error:
        reason, loads = f"the original fails on made-up inputs, so give it some (--inputs): {error}", True
    try:
        every = ort.candidate_feeds(original, seed, batch=batch, sizes=sizes)
        tries = list(itertools.islice(every, _CANDIDATES))
    except ModelError as error:  # strings, sequences, an unknown rank
        return Pairing([], reason if loads else f"{reason}; {error}", tolerance, spent=spent)
    if not loads:
        return Pairing(tries, tolerance=tolerance, guessed=any(map(_open, original.graph.inputs)), spent=spent)
    runs = next(([feeds] for feeds in tries if in_double(original, original, feeds)), [])
    return Pairing(runs, reason, tolerance, spent=spent)


def _first(
    original: ir.Model, expected: Any, seed: int, batch: int, sizes: Mapping[str, int] | None, spent: Spent
) -> tuple[Feeds, Any, list[Array]] | None:
    """Inputs for the original on which the expected model runs in single, it, and its outputs; None if on none."""
    try:
        single = Single.of(expected, spent)
        for feeds in ort.candidate_feeds(original, seed, batch=batch, sizes=sizes):
            with contextlib.suppress(ModelError):
                outputs = single.run(feeds)
                return feeds, expected, outputs
    except ModelError:  # the original itself tells what is wrong
        pass
    return None


def _open(value: ir.Value) -> bool:
    """Whether a graph input has axes of any size behind the first, or any number of them."""
    shape = value.shape
    return shape is None or not len(shape) or any(not isinstance(size, int) for size in list(shape)[1:])


def _speaks(array: Array) -> bool:
    return array.size > 0 and (not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).any()))


def _negated(feeds: Feeds) -> dict[str, Array]:
    return {
        name: np.negative(array) if np.issubdtype(array.dtype, np.floating) else array for name, array in feeds.items()
    }


def _shaken(feeds: Feeds) -> dict[str, Array]:
    """The inputs with every float moved by its last digit, up or down."""
    generator = np.random.default_rng(0)
    moved = dict(feeds)
    for name, array in feeds.items():
        if np.issubdtype(array.dtype, np.floating):
            steps = 1 + _STEP * generator.choice((-1, 1), array.shape)
            moved[name] = (array.astype(np.float64) * steps).astype(array.dtype)
    return moved
