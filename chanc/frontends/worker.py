"""The process in which a foreign road runs: request.json and, at the end, answer.json and example.npz in one folder.

It may be another interpreter than the one that asked, with the framework's packages and without chanc's: it needs
Python 3.11, numpy, and those. Whatever the framework prints goes to a log; whatever it raises, a call of sys.exit
included, becomes one line of the answer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chanc import plugins
from chanc.errors import ChancError, MissingDependencyError
from chanc.frontends.foreign import Job, Written

BOOT = """\
import importlib.util, sys
if sys.version_info < (3, 11): sys.exit("chanc needs Python 3.11 or newer")
spec = importlib.util.spec_from_file_location("chanc", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["chanc"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["chanc"])
from chanc.frontends import worker
worker.main(sys.argv[2])
"""
"""Run by `python -c BOOT CHANC FOLDER`.

chanc is found by its own folder: on the path, the packages beside it, another interpreter's, would come along.
"""


def main(folder: str) -> None:
    """Do what the request in `folder` says, and leave the answer there."""
    home = Path(folder)
    request = json.loads((home / "request.json").read_text(encoding="utf-8"))
    try:
        answer: dict[str, Any] = _answer(request, home)
    except ChancError as error:
        answer = {"error": str(error), "missing": isinstance(error, MissingDependencyError)}
    except SystemExit as stop:
        answer = {"error": f"the exporter stopped by sys.exit({stop.code})", "missing": False}
    except Exception as error:  # frameworks raise what comes
        answer = {"error": plugins.told(error), "missing": False}
    (home / "answer.part").write_text(json.dumps(answer), encoding="utf-8")
    os.replace(home / "answer.part", home / "answer.json")


def _answer(request: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Run the road; its arrays go to example.npz."""
    import numpy as np

    fields = {**request["job"], "path": Path(request["job"]["path"])}
    fields["shapes"] = tuple(map(tuple, fields["shapes"]))
    with plugins.working_directory():
        write = getattr(importlib.import_module(request["module"]), request["function"])
    written: Written = write(Job(**fields))
    arrays = {f"input.{k}": array for k, array in enumerate(written.inputs)}
    arrays |= {f"output.{k}": array for k, array in enumerate(written.outputs)}
    for k, norm in enumerate(written.norms):
        arrays |= {f"norm.{k}.{part}": np.asarray(value) for part, value in norm.items()}
    np.savez(home / "example.npz", **arrays)  # type: ignore[arg-type]  # its other option is a bool
    return {"packages": _versions(written.packages), "contract": dict(written.contract)}


def _versions(packages: Sequence[str]) -> str:
    """`keras 3.15.1, tf2onnx 1.17.0`."""
    return ", ".join(f"{name} {getattr(sys.modules[name], '__version__', '')}".strip() for name in packages)
