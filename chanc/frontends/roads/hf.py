"""`hf:FOLDER`: weights of transformers in a local folder, config.json beside them. Nothing is downloaded.

The architecture is what the config names; code of the folder's own isn't run. The first output is kept: the logits of a
network with a head. What preprocessor_config.json says of pixels becomes the input contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chanc.errors import ChancError, ModelError
from chanc.frontends.foreign import BATCH, Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS

TOKENS = 16
"""Length of a text in the example."""


def write(job: Job) -> Written:
    """Write a network of images or of tokens, in evaluation."""
    require(torch="torch", transformers="transformers", onnx="onnx")
    import onnx
    import torch

    from chanc.frontends.exporters import AUTO, EXPORTERS, Request

    folder = Path(job.target)
    model = _model(folder)

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, given: torch.Tensor) -> Any:
            return self.model(**{model.main_input_name: given}, return_dict=False)[0]

    example, network = _example(model, job), First().eval()
    with torch.no_grad():
        answer = network(example)
        request = Request(network, (example[:2],), (model.main_input_name,), ("output",), True, job.opset)
        failures = []
        for name in AUTO:
            try:
                onnx.save(EXPORTERS[name](request), job.path)
                break
            except ModelError as error:
                failures.append(str(error))
        else:
            raise ModelError("; ".join(failures))
    packages = ("transformers", "torch")
    return Written([example.numpy()], [answer.numpy()], packages, contract=_contract(folder, example.ndim == 4))


def _model(folder: Path) -> Any:
    import transformers

    if not (folder / "config.json").is_file():
        raise ChancError(f"{folder} has no config.json: hf: takes a folder that save_pretrained wrote")
    (name, *_) = _json(folder / "config.json").get("architectures") or ("AutoModel",)
    if not hasattr(transformers, name):
        raise ChancError(f"transformers {transformers.__version__} has no {name}")
    kind = getattr(transformers, name)
    return kind.from_pretrained(folder, local_files_only=True, attn_implementation="eager").float()


def _example(model: Any, job: Job) -> Any:
    """Noise for images, tokens in turn for texts."""
    import torch

    if model.main_input_name.endswith("_ids"):
        length = job.shapes[0][1] if job.shapes else TOKENS
        return torch.arange(BATCH * length).reshape(BATCH, length) % model.config.vocab_size
    size = getattr(model.config, "image_size", None)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    images = [(None, getattr(model.config, "num_channels", 3), height, width)]
    return torch.from_numpy(job.examples(images if "pixel" in model.main_input_name else ())[0])


def _contract(folder: Path, images: bool) -> dict[str, str]:
    path = folder / "preprocessor_config.json"
    if not images or not path.is_file():
        return {"layout": "NCHW"} if images else {}
    said = _json(path)
    scale = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    normal = said.get("do_normalize", True) and "image_mean" in said
    mean, std = (said[f"image_{part}"] if normal else [default] for part, default in (("mean", 0.0), ("std", 1.0)))
    texts = {name: ",".join(map(repr, map(float, values))) for name, values in (("mean", mean), ("std", std))}
    return {"scale": repr(float(scale)), **texts, "layout": "NCHW"}


def _json(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


FRONTENDS.add("hf", Foreign(write, "hf:FOLDER"), help="A local folder of transformers' weights.")
