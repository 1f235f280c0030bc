"""AdaS: SGD with momentum whose learning rate follows, layer by layer, what the layer learns.

Hosseini and Plataniotis, "AdaS: Adaptive Scheduling of Stochastic Gradients" (2020). After epoch t, with the knowledge
gains S of each convolution (`chanc.metrics.quality`),

    G_t = (S_in + S_out) / 2,  v_t = G_t - G_{t-1},  eta_t = max(beta eta_{t-1} + zeta v_t, 1e-20)

and eta_0 is the initial learning rate. A convolution's eta drives its normalisation too; the classifier has its own,
with G_t = S_out of the last convolution. The update is SGD with momentum and L2:

    b = momentum b + (gradient + weight_decay w),  w = w - eta b
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypedDict

from chanc.errors import MissingDependencyError
from chanc.metrics.evbmf import Minimum
from chanc.metrics.quality import LayerQuality, gains, layers_quality

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("AdaS needs PyTorch: pip install 'chanc[torch]'") from error

if TYPE_CHECKING:
    from torch.optim.optimizer import StateDict

CLASSIFIER = "classifier"
_LOWEST = 1e-20
_CONVOLUTIONS = (
    torch.nn.Conv1d,
    torch.nn.Conv2d,
    torch.nn.Conv3d,
    torch.nn.ConvTranspose1d,
    torch.nn.ConvTranspose2d,
    torch.nn.ConvTranspose3d,
)


class Schedule(TypedDict):
    """The learning rates by layer, and each one's last knowledge gain: what goes on from trial to trial."""

    eta: dict[str, float]
    gain: dict[str, float]


class AdaS(torch.optim.Optimizer):
    """The optimizer of a module: one parameter group a measured convolution, named by its weight, and the classifier's.

    Call `step` per batch as with any optimizer, and `step_epoch` after each epoch. lr: the initial learning rate;
    minimum: as for `chanc.metrics.evbmf.evbmf`.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        lr: float = 0.03,
        beta: float = 0.8,
        zeta: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        minimum: Minimum = "global",
    ) -> None:
        """Raises `ValueError` where the module has no convolution that can be measured."""
        self.beta, self.zeta = beta, zeta
        self.momentum, self.weight_decay = momentum, weight_decay
        self.minimum: Minimum = minimum
        layers = parameter_layers(module)
        self.layers = [name for name in layers if name != CLASSIFIER]
        self.eta = dict.fromkeys(layers, lr)
        self.gain: dict[str, float] = {}
        weights = dict(module.named_parameters(remove_duplicate=False))
        self._weights = {name: weights[name] for name in self.layers}
        groups = [{"params": parameters, "name": name} for name, parameters in layers.items() if parameters]
        super().__init__(groups, {"lr": lr})

    def measure(self) -> dict[str, LayerQuality]:
        """Measure the convolutions' weights as they are now, by name.

        Raises `TrialError` where a weight holds NaN or infinite values.
        """
        return layers_quality(self._weights, self.minimum)

    def step_epoch(self, metrics: Mapping[str, tuple[float, float]] | None = None) -> None:
        """Move every learning rate after an epoch.

        metrics: (S_in, S_out) by name of the convolution's weight; None measures the weights as they are now.
        Raises `ValueError` where a layer of this optimizer is not among the metrics, `TrialError` where a weight holds
        NaN or infinite values.
        """
        if metrics is None:
            metrics = gains(self.measure())
        missing = [name for name in self.layers if name not in metrics]
        if missing:
            raise ValueError(f"AdaS got no measurement of {missing[0]!r}")
        gain = {name: sum(metrics[name]) / 2 for name in self.layers}
        gain[CLASSIFIER] = metrics[self.layers[-1]][1]
        for name, now in gain.items():
            if name in self.gain:
                eta = self.beta * self.eta[name] + self.zeta * (now - self.gain[name])
                self.eta[name] = max(eta, _LOWEST)
        self.gain = gain
        self._apply()

    def _apply(self) -> None:
        for group in self.param_groups:
            group["lr"] = self.eta[group["name"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all parameters that have a gradient, a few fused kernels for the whole model."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        pairs = [(p, group["lr"]) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not pairs:
            return loss
        parameters = [parameter for parameter, _ in pairs]
        gradients = torch._foreach_add([p.grad for p in parameters], parameters, alpha=self.weight_decay)
        buffers = [self._buffer(parameter) for parameter in parameters]
        torch._foreach_mul_(buffers, self.momentum)
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(parameters, torch._foreach_mul(buffers, [-lr for _, lr in pairs]))
        return loss

    def _buffer(self, parameter: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer

    def carry_over(self, schedule: Schedule) -> None:
        """Go on from the learning rates and gains of another trial ("adas" in its state), whatever its widths were.

        Layers that the other trial did not have start at the initial learning rate; momentum starts at zero.
        """
        self.eta |= {name: eta for name, eta in schedule["eta"].items() if name in self.eta}
        self.gain = {name: gain for name, gain in schedule["gain"].items() if name in self.eta}
        self._apply()

    def state_dict(self) -> StateDict:
        """Momentum buffers, learning rates and schedule, for a resume of the same module."""
        return super().state_dict() | {"adas": {"eta": dict(self.eta), "gain": dict(self.gain)}}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Restore what `state_dict` gave."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "adas"})
        self.carry_over(state_dict["adas"])


def parameter_layers(module: torch.nn.Module) -> dict[str, list[torch.nn.Parameter]]:
    """The parameters that share a learning rate, by the weight name of their convolution, in the module's order.

    A normalisation (or any other layer) goes with the convolution before it, a depthwise convolution with the next
    measured one, and linear layers after the last convolution form the classifier. Raises `ValueError` where there is
    no convolution to measure.
    """
    layers: dict[str, list[torch.nn.Parameter]] = {}
    waiting: list[torch.nn.Parameter] = []
    tail: list[tuple[bool, list[torch.nn.Parameter]]] = []
    seen: set[int] = set()
    for path, child in module.named_modules():
        own = [p for p in child.parameters(recurse=False) if id(p) not in seen and p.requires_grad]
        seen.update(map(id, own))
        if isinstance(child, _CONVOLUTIONS) and own:
            _settle(layers, waiting, tail)
            tail = []
            if _is_depthwise(child):
                waiting += own
            else:
                layers[f"{path}.weight" if path else "weight"] = waiting + own
                waiting = []
        elif own:
            tail.append((isinstance(child, torch.nn.Linear), own))
    if not layers:
        raise ValueError("AdaS needs a module with at least one convolution that is not depthwise")
    last = next(reversed(layers))
    layers[last] += waiting
    layers[CLASSIFIER] = [p for linear, own in tail if linear for p in own]
    layers[last] += [p for linear, own in tail if not linear for p in own]
    return layers


def _settle(
    layers: dict[str, list[torch.nn.Parameter]],
    waiting: list[torch.nn.Parameter],
    tail: list[tuple[bool, list[torch.nn.Parameter]]],
) -> None:
    """Give the parameters between two convolutions to the first, or to the next where none is measured yet."""
    home = waiting if waiting or not layers else layers[next(reversed(layers))]
    for _, own in tail:
        home += own


def _is_depthwise(child: torch.nn.Module) -> bool:
    groups, channels = getattr(child, "groups", 1), getattr(child, "in_channels", 1)
    return bool(groups == channels and groups > 1)
