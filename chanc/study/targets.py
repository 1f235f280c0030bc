"""Targets: widths of any shape brought to the cost that all trials of a search shall have.

    w_g = f base_g                       one target: the factor f by bisection
    w_g = f base_g exp(lambda e_g)       two: e_g says how many more MACs than parameters the group is worth

Both are real numbers; then each width goes to a legal one next to it, and single widths move by a step until the cost
is within `CLOSE` of the target, those first that bend the shape least. Groups that are tied have one factor throughout.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chanc.study.space import Counter, Limits, SearchGroup, Shape, Space, Widths

Counts = Mapping[Counter, float]
"""What the widths shall cost, by what is counted."""

CLOSE = 0.005
"""Relative distance from a target below which nothing is gained by coming closer."""

BEND = math.log(4)
"""How far widths may leave their proportions for the sake of a second target: by a factor of 4."""

AROUND = 0.25
"""How far, relatively, a single width may go from its share to make up for the rounding of others."""

COARSEST = 3
"""Units whose steps are so large that rounding up and down are both tried."""

PAIRS = 40
"""Pairs of moves that are tried where no single one comes nearer."""

Ratios = Sequence[float]
"""Costs over their targets, in the order of the targets."""

Factors = dict[str, float]
"""By unit of the space (`Space.units`): its widths over those that the model has."""


def project(space: Space, limits: Limits, base: Shape, counts: Counts, *, bend: bool = True) -> Widths:
    """Legal widths in the proportions of `base` (channels by group, real numbers) that cost what `counts` says.

    One target is met as nearly as the steps of the widths allow, from above or below. Of two neither is exceeded, and
    both come as near as possible: by changing the proportions, or without `bend` by one factor alone. Where the bounds
    keep a target out of reach, what comes back is the bound. Widths that are near enough come back as they are.
    """
    aim = _Aim(space, limits, counts)
    if not counts:
        return aim.fitted(aim.factors(base))
    given = aim.legal(base)
    if given is not None and aim.miss(given) <= CLOSE:
        return given
    wanted = aim.continuous(aim.factors(base), bend)
    found = aim.whole(wanted)
    return found if given is None or aim.miss(found) < aim.miss(given) else given


@dataclass(frozen=True)
class _Aim:
    """The search for widths at given costs."""

    space: Space
    limits: Limits
    counts: Counts

    def factors(self, base: Shape) -> Factors:
        """The factor of each unit; the geometric mean where the groups of a tie differ."""
        return {
            name: math.exp(math.fsum(math.log(base[group.id] / group.size) for group in groups) / len(groups))
            for name, groups in self.space.units.items()
        }

    def widths(self, factors: Factors, place: Callable[[float, SearchGroup], float]) -> dict[str, float]:
        """The groups' widths, each put in its `place`."""
        return {group.id: place(group.size * factors[name], group)
                for name, groups in self.space.units.items() for group in groups}  # fmt: skip

    def fitted(self, factors: Factors) -> Widths:
        """The legal widths next to these factors."""
        return {gid: int(width) for gid, width in self.widths(factors, self.limits.fit).items()}

    def legal(self, base: Shape) -> Widths | None:
        """The base as widths where it is legal as it is."""
        fitted = self.fitted(self.factors(base))
        return fitted if fitted == dict(base) else None

    def ratios(self, widths: Mapping[str, float]) -> Ratios:
        """Costs over their targets."""
        return [self.space.count(widths, counter) / target for counter, target in self.counts.items()]

    def miss(self, widths: Widths) -> float:
        """How far widths are from the target."""
        return _miss(self.ratios(widths))

    def share(self, factors: Factors, counter: Counter) -> float:
        """The cost of real widths over its target."""
        widths = self.widths(factors, self._clamp)
        return self.space.count(widths, counter) / self.counts[counter]

    def _clamp(self, width: float, group: SearchGroup) -> float:
        low, high = self.limits.bounds(group)
        return min(max(width, low), high)

    def continuous(self, factors: Factors, bend: bool) -> Factors:
        """The factors at the target, before they are rounded."""
        scaled = self._scaled(factors)
        if len(self.counts) < 2 or not bend:
            return scaled
        slack = min(self.counts, key=lambda counter: self.share(scaled, counter))
        if self.share(scaled, slack) > 1 - CLOSE:
            return scaled
        leaning = self._leaning(scaled, slack)
        low, high = 0.0, BEND
        for _ in range(20):
            middle = (low + high) / 2
            bent = self._scaled({name: factor * math.exp(middle * leaning[name]) for name, factor in factors.items()})
            tight = next(counter for counter in self.counts if counter != slack)
            low, high = (low, middle) if self.share(bent, tight) < self.share(bent, slack) else (middle, high)
        return self._scaled({name: factor * math.exp(low * leaning[name]) for name, factor in factors.items()})

    def _scaled(self, factors: Factors, fixed: Factors | None = None) -> Factors:
        """All factors but fixed ones by one more, so that the dearest of the targets is just met."""
        low, high = math.log(1 / 4096), math.log(4096)
        for _ in range(40):
            middle = (low + high) / 2
            scaled = _times(factors, math.exp(middle)) | (fixed or {})
            fits = all(self.share(scaled, counter) <= 1 for counter in self.counts)
            low, high = (middle, high) if fits else (low, middle)
        return _times(factors, math.exp(low)) | (fixed or {})

    def _leaning(self, factors: Factors, slack: Counter) -> Factors:
        """How much more of the slack target than of the others a unit takes, the largest as 1."""
        raised = {name: {**factors, name: factor * 1.01} for name, factor in factors.items()}
        gains = {counter: {name: self.share(up, counter) - self.share(factors, counter) for name, up in raised.items()}
                 for counter in self.counts}  # fmt: skip
        shares = {counter: {name: gain / (math.fsum(of.values()) or 1) for name, gain in of.items()}
                  for counter, of in gains.items()}  # fmt: skip
        tight = next(counter for counter in self.counts if counter != slack)
        leaning = {name: shares[slack][name] - shares[tight][name] for name in factors}
        largest = max(map(abs, leaning.values())) or 1.0
        return {name: value / largest for name, value in leaning.items()}

    def whole(self, wanted: Factors) -> Widths:
        """Legal widths near `wanted`, at the target: where rounding alone can't meet it, with the coarsest units first.

        Each of these is rounded up and down, and what that costs is made up for by all others in proportion.
        """
        steps = {name: min(self.limits.quantum(group) / group.size for group in groups)
                 for name, groups in self.space.units.items()}  # fmt: skip
        found = self.rounded(wanted, steps)
        coarse = sorted(wanted, key=lambda name: wanted[name] / steps[name])[:COARSEST]
        if self.miss(found) <= CLOSE or wanted[coarse[0]] > 10 * steps[coarse[0]]:
            return found
        sides = [[math.floor(wanted[name] / steps[name]), math.ceil(wanted[name] / steps[name])] for name in coarse]
        tries = [found]
        for counts in itertools.product(*sides):
            fixed = {name: self._on_grid(name, max(count, 1) * steps[name])
                     for name, count in zip(coarse, counts, strict=True)}  # fmt: skip
            tries.append(self.rounded(self._scaled(wanted, fixed), steps))
        return min(tries, key=lambda widths: (max(self.miss(widths), CLOSE), _bent(self.factors(widths), wanted)))

    def rounded(self, wanted: Factors, steps: Factors) -> Widths:
        """The widths next to `wanted`, moved by single steps towards the target."""
        now = {name: self._on_grid(name, factor) for name, factor in wanted.items()}
        miss = self.miss(self.fitted(now))
        while miss > CLOSE:
            better = self._better(now, wanted, steps, miss)
            if better is None:
                break
            miss, now = better
        return self.fitted(now)

    def _on_grid(self, name: str, factor: float) -> float:
        """The factor that the first group of a unit really gets."""
        lead = self.space.units[name][0]
        return self.limits.fit(factor * lead.size, lead) / lead.size

    def _better(self, now: Factors, wanted: Factors, steps: Factors, miss: float) -> tuple[float, Factors] | None:
        """One step of one unit, or else of two, that lessens the miss: the one that bends least for what it gains."""
        start = self.ratios(self.fitted(now))
        singles = [(move, self.ratios(self.fitted(now | move))) for move in self._moves(now, wanted, steps)]
        for moves in ([move for move, _ in singles], _pairs(start, singles)):
            found = []
            for move in moves:
                to = now | move
                left = self.miss(self.fitted(to))
                if left < miss:
                    found.append((_worth(_bent(to, wanted) - _bent(now, wanted), miss - max(left, CLOSE)), left, to))
            if found:
                _, left, to = max(found, key=lambda one: one[0])
                return left, to
        return None

    def _moves(self, now: Factors, wanted: Factors, steps: Factors) -> Iterator[Factors]:
        """Single steps that stay within two of what is wanted, or within a share of it."""
        for name, factor in now.items():
            for to in (factor - steps[name], factor + steps[name]):
                if to > 0 and abs(to - wanted[name]) < max(2 * steps[name], AROUND * wanted[name]):
                    yield {name: to}


def _times(factors: Factors, scale: float) -> Factors:
    return {name: factor * scale for name, factor in factors.items()}


def _miss(ratios: Ratios) -> float:
    """How far costs are from their targets, relatively; with two targets an excess counts more than any lack."""
    if len(ratios) == 1:
        return abs(ratios[0] - 1)
    return max(ratios) if max(ratios) > 1 else math.fsum(1 - ratio for ratio in ratios)


def _pairs(start: Ratios, singles: Sequence[tuple[Factors, Ratios]]) -> list[Factors]:
    """The most promising pairs of moves: as if the changes of cost of the two added up."""
    promised = [
        (_miss([a + b - at for a, b, at in zip(left, right, start, strict=True)]), one | two)
        for (one, left), (two, right) in itertools.combinations(singles, 2)
    ]
    return [move for _, move in heapq.nsmallest(PAIRS, promised, key=lambda entry: entry[0])]


def _bent(factors: Factors, wanted: Factors) -> float:
    """How far a shape is from the one that is wanted."""
    return math.fsum(math.log(factor / wanted[name]) ** 2 for name, factor in factors.items())


def _worth(bend: float, gain: float) -> float:
    """What a move is worth: its gain for its bend; one that straightens is worth more than any that bends."""
    return gain / bend if bend > 1e-9 else (1 - bend) * 1e9 * gain
