"""chanc in Olive: `ChancResizeWidths`, a pass of Olive's, and the package config that makes it known.

    olive run --config workflow.json --package-config chanc-olive.json

A package config stands in the place of Olive's own, so that `package_config` has all of that, and chanc's pass. In a
workflow the pass comes before `OnnxPeepholeOptimizer`, which folds BatchNormalization. Nothing else in chanc imports
Olive.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from olive.model.utils import resolve_onnx_path
from olive.package_config import OlivePackageConfig
from olive.passes import Pass
from olive.passes.onnx.common import get_external_data_config, model_proto_to_olive_model
from olive.passes.pass_config import PassConfigParam

from chanc.files import atomic_write_json
from chanc.ir import to_proto
from chanc.rewriter import rewrite

OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "scale": (float, None, "Scale every group that may change."),
    "max_params": (int | str, None, "Ceiling of parameters: a number, or a share such as 50%."),
    "max_macs": (int | str, None, "Ceiling of MACs: a number, or a share such as 50%."),
    "keep": (list[str], [], "Patterns of groups that stay."),
    "importance": (str, "l2", "By what the channels that stay are chosen."),
    "transfer": (str, "grow", "What weights become."),
    "round_to": (int, None, "Widths are multiples of this."),
    "min_width": (int, 1, "No group gets fewer channels."),
    "exact": (bool, False, "Change only groups that keep the function of the rest."),
}
"""Options of `chanc.rewrite` by name: kind, default, what it is."""


class ChancResizeWidths(Pass):  # type: ignore[misc]  # Olive is untyped
    """Give the channel groups of an ONNX model new widths: `chanc.rewrite` in a workflow of Olive."""

    @classmethod
    def _default_config(cls, accelerator_spec: Any) -> dict[str, Any]:
        options = {name: PassConfigParam(type_=kind, default_value=default, description=text)
                   for name, (kind, default, text) in OPTIONS.items()}  # fmt: skip
        return {**options, **get_external_data_config()}

    def _run_for_config(self, model: Any, config: Any, output_model_path: str) -> Any:
        asked = {name: getattr(config, name) for name in OPTIONS}
        done = rewrite(model.model_path, **asked)
        return model_proto_to_olive_model(to_proto(done.model), resolve_onnx_path(output_model_path), config)


def package_config() -> dict[str, Any]:
    """Olive's own package config, as installed, with chanc's pass."""
    config: dict[str, Any] = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text())
    entry = {
        "module_path": f"{__name__}.{ChancResizeWidths.__name__}",
        "supported_providers": ["*"], "supported_accelerators": ["*"], "supported_precisions": ["*"],
        "supported_algorithms": [], "supported_quantization_encodings": [],
    }  # fmt: skip
    return {**config, "passes": {**config["passes"], ChancResizeWidths.__name__: entry}}


def write_package_config(path: str | os.PathLike[str]) -> None:
    """Write it as the file that `olive run --package-config` takes. Raises: OSError."""
    atomic_write_json(path, package_config())
