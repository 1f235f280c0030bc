"""Widths for a budget, from what units are worth and what they cost.

A move changes one group by a grain, the channels that a device likes at once:

    loss of a group whose scores sum up to S, and to S(n) in its n strongest channels = S^2 / S(n)
    worth of a move = how much the loss changes,    ratio of a move = worth / what it costs

To first order the loss of units that go is the sum of their scores; the fewer are left, the more hangs on each, which
no score knows that was taken while all the others were there. Shrinking makes the move of the lowest ratio again and
again, growing that of the highest, an exchange both by turns, so that the cost stays. All moves of a turn are priced at
once: a cost is a function of sizes in any kind of number.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chanc.analysis import Analysis, Group
from chanc.errors import PlanError
from chanc.ops.spec import Number
from chanc.rewriter.plan import Sizing

Widths = dict[str, int]
Price = Callable[[Mapping[str, Number]], Sequence[Number]]
"""What widths (channels by group) cost of each budget, 1 being all of it. They may be arrays: an entry a case."""
CLOSE = 0.005
"""The share of a budget that may be left: less isn't worth a search."""
GIVERS, TRADES = 2, 400
"""How many groups give a grain in one trade, and how many trades are tried at a time."""
WIDEST = 4
"""As many times the width that a group has is the most that it grows to."""
SUITED = Sizing(round_to=None)
"""Widths as devices like them."""
LEAST_SHARE = 0.1
"""Of its channels a group keeps this share at least: of a few channels everything behind them hangs on each, and no
score that was taken while the others were there knows it."""


@dataclass(frozen=True, slots=True)
class Account:
    """A group as it is allocated: `scores` are what its units are worth now, at `size` channels, the weakest first.

    Widths are multiples of `grain` channels, which is one of the channels of a unit, within [floor, ceiling].
    """

    size: int
    scores: NDArray[np.float64]
    grain: int
    floor: int
    ceiling: int

    @classmethod
    def of(
        cls, size: int, scores: NDArray[np.float64], grain: int = 1, floor: int = 1, ceiling: int = 1 << 20
    ) -> Account:
        """From scores in any order; bounds are brought to multiples of the grain, and of a unit's channels."""
        grain = math.lcm(grain, size // len(scores))
        low = -(-max(floor, 1) // grain) * grain
        return cls(size, np.sort(np.asarray(scores, dtype=np.float64)), grain, low, ceiling // grain * grain)

    @property
    def least(self) -> int:
        """The smallest width: that of now where the floor is above it."""
        return min(self.size, self.floor)

    def down(self, width: int) -> int:
        """The next smaller width, or the same where there is none."""
        new = (width - 1) // self.grain * self.grain
        return new if new >= self.floor else width

    def up(self, width: int) -> int:
        """The next larger width, or the same where there is none."""
        new = (width // self.grain + 1) * self.grain
        return new if new <= self.ceiling else width

    def beside(self, width: int) -> int:
        """The next smaller width, else the next larger one; the same where there is neither."""
        return self.up(width) if self.down(width) == width else self.down(width)

    def worth(self, low: int, high: int) -> float:
        """What the channels from `low` to `high` are worth, with a minus where `low` is the larger."""
        return self._loss(low) - self._loss(high)

    def _loss(self, width: int) -> float:
        """The group's part of the loss, where the weakest units go first."""
        whole = self._held(self.size)
        return whole * whole / self._held(width) if whole else 0.0

    def _held(self, width: int) -> float:
        """The sum of the scores at a width; of units that are not there yet nothing is known, but the weakest grain."""
        unit = self.size // len(self.scores)
        known = float(self.scores[(self.size - min(width, self.size)) // unit :].sum())
        weakest = float(self.scores[: max(self.grain // unit, 1)].mean()) / unit
        return known + weakest * max(width - self.size, 0)


class Crew(Account):
    """A group whose units share one job: the more there are, the less hangs on any, and what is new soon does its part.

    Of n channels the loss keeps a part T / n, T being the sum of all scores, so that those from `low` to `high` are
    worth T (1 / low - 1 / high). The cheapest widths have n ~ sqrt(T / cost of a channel), as in Neyman's allocation.
    """

    def worth(self, low: int, high: int) -> float:
        """What the channels from `low` to `high` are worth."""
        return float(self.scores.sum()) * (1 / low - 1 / high)


class Move(NamedTuple):
    """A group's next width, what the move costs, what of the fullest budget is spent then, and its units' worth.

    Of several budgets those count that are overdrawn; where none is, all do, the more the fuller they are.
    """

    group: str
    width: int
    cost: float
    spent: float
    worth: float

    @property
    def ratio(self) -> float:
        """Worth per cost."""
        return self.worth / abs(self.cost) if self.cost else math.inf


def casewise(price: Callable[[Mapping[str, float]], Sequence[float]]) -> Price:
    """The price of arrays of widths from one of single widths."""

    def priced(widths: Mapping[str, Number]) -> Sequence[Number]:
        cases = np.broadcast_arrays(*widths.values())
        if cases[0].ndim == 0:
            return price(widths)
        return list(np.transpose([price(dict(zip(widths, case, strict=True))) for case in zip(*cases, strict=True)]))

    return priced


def normalised(accounts: Mapping[str, Account], widths: Widths, price: Price) -> dict[str, Account]:
    """Accounts whose scores add up to the group's share of the cost at these widths, so that all compare.

    Nothing is known then of what groups are worth beside each other: as much as they cost. Where all units of a group
    are alike all groups shrink alike; a group in which some are much weaker than others gives more.
    """
    moves = _moves(accounts, widths, price, Account.beside)
    shares = {move.group: move.cost / (move.width - widths[move.group]) for move in moves}
    return {
        name: replace(account, scores=even(account.scores) * shares.get(name, 0.0) * account.size / len(account.scores))
        for name, account in accounts.items()
    }


def even(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of one group with a mean of 1; ones where that can't be."""
    mean = float(np.mean(scores))
    return np.asarray(scores / mean) if mean > 0 else np.ones_like(scores)


def allocate(
    analysis: Analysis,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    params: float | None = None,
    macs: float | None = None,
    latency: float | None = None,
    clock: Callable[[Widths], float] | None = None,
    fixed: Mapping[str, int] | None = None,
    normalise: bool = True,
    sizing: Sizing = SUITED,
) -> Widths:
    """The widths that are worth most for a budget: a plan for `chanc.rewrite`.

    scores: what the units of each group are worth, by its id; groups that are not named, or may not change, keep their
    widths, but those that are `fixed` elsewhere. params, macs: what the result may cost, an int, or a float for the
    share of what the model costs; widths shrink to it or grow up to it. latency: the milliseconds that `clock` may say
    of widths; it is asked as often as a list is halved. normalise: scores compare units of one group only. Widths are
    as the `sizing` has it, and none is under `LEAST_SHARE` of its group.

    Raises: PlanError for a budget that can't be met, with the least that can be had.
    """
    limits = {name: given if isinstance(given, int) else given * getattr(analysis, name)
              for name, given in (("params", params), ("macs", macs)) if given is not None}  # fmt: skip
    others = dict(fixed or {})

    def price(widths: Mapping[str, Number]) -> list[Number]:
        cost = analysis.cost_at({**others, **widths})
        counted = limits or {"params": analysis.params, "macs": analysis.macs}
        return [getattr(cost, name) / max(limit, 1) for name, limit in counted.items()]

    groups = {name: group for name in scores if (group := analysis.group(name)).resizable and name not in others}
    widths = {name: group.size for name, group in groups.items()}
    times = 1 if max(price(widths)) > 1 else WIDEST
    accounts = {name: _account(group, scores[name], sizing, times) for name, group in groups.items()}
    if normalise:
        accounts = normalised(accounts, widths, price)
    least = {name: account.least for name, account in accounts.items()}
    for name, limit in limits.items():
        _reachable(limit, name.replace("macs", "MACs"), getattr(analysis.cost_at({**others, **least}), name))
    if limits:
        widths = traded(accounts, fill(accounts, shrunk(accounts, widths, price), price), price)
    if latency is None or clock is None or clock({**others, **widths}) <= latency:
        return widths
    _reachable(latency, "ms", clock({**others, **least}))
    path = [*_falling(accounts, widths, price)]
    first = bisect_left(range(len(path) - 1), True, key=lambda k: clock({**others, **path[k]}) <= latency)
    return path[first]


def _account(group: Group, scores: NDArray[np.float64], sizing: Sizing, times: int) -> Account:
    floor = max(sizing.min_width, math.ceil(LEAST_SHARE * group.size))
    return Account.of(group.size, scores, sizing.grain(group), floor, times * group.size)


def _reachable(limit: float, unit: str, least: float) -> None:
    """Raise PlanError where the smallest widths cost more than a budget."""
    if least > limit:
        raise PlanError(
            f"the budget of {_count(limit)} {unit} can't be met: the least that can be had is {_count(least)} {unit}, "
            f"with no group under {LEAST_SHARE:.0%} of its channels; what is kept, a least width and coarse rounding "
            f"(--round-to) raise it"
        )


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def shrunk(accounts: Mapping[str, Account], widths: Widths, price: Price) -> Widths:
    """The widths after as many moves of the lowest ratio as the budgets need, or as there are.

    The last move is the one of all sufficient ones that loses the least.
    """
    now = dict(widths)
    while max(price(now)) > 1:
        moves = _moves(accounts, now, price, Account.down)
        enough = [move for move in moves if move.spent <= 1]
        if not moves:
            break
        least = min(enough, key=lambda move: move.worth) if enough else min(moves, key=lambda move: move.ratio)
        now[least.group] = least.width
    return now


def fill(accounts: Mapping[str, Account], widths: Widths, price: Price, least: float = 0.0) -> Widths:
    """The widths after all moves up that the budgets allow, the highest ratio first, none of `least` or less."""
    now = dict(widths)
    while fitting := [move for move in _moves(accounts, now, price, Account.up) if move.spent <= 1]:
        best = max(fitting, key=lambda move: move.ratio)
        if best.ratio <= least:
            break
        now[best.group] = best.width
    return now


def traded(accounts: Mapping[str, Account], widths: Widths, price: Price) -> Widths:
    """Widths that leave less of the budgets: one group gives a grain, or two do, and others take what that frees.

    Of all such trades the one that is worth most is made, until nothing is left, or nothing is gained.
    """
    now, givers = dict(widths), 1
    while givers <= GIVERS and max(price(now)) < 1 - CLOSE:
        down = {name: width for name, account in accounts.items() if (width := account.down(now[name])) != now[name]}
        trades = list(itertools.islice(itertools.combinations(down, givers), TRADES))
        tries = [
            fill({n: a for n, a in accounts.items() if n not in names}, now | {n: down[n] for n in names}, price)
            for names in trades
        ]
        gains = [sum(account.worth(now[name], new[name]) for name, account in accounts.items()) for new in tries]
        if max(gains, default=0.0) > 0:
            now, givers = tries[int(np.argmax(gains))], 1
        else:
            givers += 1
    return now


def exchange(accounts: Mapping[str, Account], widths: Widths, price: Price, amount: float) -> Widths:
    """Widths within the same budgets that are worth more: grains go from the lowest ratios to the highest.

    At most about `amount` of the budgets changes hands; less where no exchange is worth it.
    """
    now, moved = dict(widths), 0.0
    while moved < amount:
        falling = _moves({n: a for n, a in accounts.items() if now[n] <= widths[n]}, now, price, Account.down)
        worst = min(falling, key=lambda move: move.ratio, default=None)
        if worst is None:
            break
        takers = {n: a for n, a in accounts.items() if now[n] >= widths[n] and n != worst.group}
        if all(move.ratio <= worst.ratio for move in _moves(takers, now, price, Account.up)):
            break
        now[worst.group], moved = worst.width, moved - worst.cost
        now = fill(takers, now, price, worst.ratio)
    return fill(accounts, now, price)


def _falling(accounts: Mapping[str, Account], widths: Widths, price: Price) -> Iterator[Widths]:
    """The widths, and those after one, two, ... moves of the lowest ratio, until all are as small as they may be."""
    now = dict(widths)
    yield dict(now)
    while moves := _moves(accounts, now, price, Account.down):
        worst = min(moves, key=lambda move: move.ratio)
        now[worst.group] = worst.width
        yield dict(now)


def _moves(
    accounts: Mapping[str, Account], widths: Widths, price: Price, step: Callable[[Account, int], int]
) -> list[Move]:
    """All moves that there are in one direction."""
    new = {name: step(account, widths[name]) for name, account in accounts.items()}
    new = {name: width for name, width in new.items() if width != widths[name]}
    cases = {name: np.full(len(new) + 1, float(width)) for name, width in widths.items()}
    for case, (name, width) in enumerate(new.items()):
        cases[name][case] = width
    costs = np.stack([np.broadcast_to(row, len(new) + 1) for row in price(cases)])
    spent = costs[:, -1]
    weights = np.where(spent > 1, 1.0, 0.0) if spent.max() > 1 else spent / spent.sum()
    moves = []
    for case, (name, width) in enumerate(new.items()):
        change = float(weights @ (costs[:, case] - spent))
        worth = accounts[name].worth(*sorted((width, widths[name])))
        moves.append(Move(name, width, change, float(costs[:, case].max()), worth))
    return moves
