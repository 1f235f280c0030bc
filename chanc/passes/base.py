"""What chanc's passes share: they take any kind of model, and give the same kind back.

Inside a pipeline of `onnx_ir` passes they are called with an `onnx_ir.Model` and answer with a `PassResult`, as every
other pass does. Called by hand with a `gs.Graph` or a `ModelProto`, they answer with a new one of that kind.
"""

from __future__ import annotations

from typing import Any, ClassVar, overload

import onnx_ir as ir
from onnx_ir.passes import InPlacePass, InvariantError, PassResult

from chanc.errors import ChancError, ModelError
from chanc.ir import like, load
from chanc.ir.normalize import is_normal
from chanc.ir.verify import verify

ANALYSIS = "chanc.analysis"
"""The key of `Model.meta` under which the `Analysis` is; it goes as soon as a pass of chanc changes the graph."""


class Pass(InPlacePass):
    """A pass over an `onnx_ir.Model`, in place; `call` does the work, and what it leaves is a legal graph."""

    needs_normal_form: ClassVar[bool] = False
    """Whether the model must be in normal form (`Normalize`) before."""

    def requires(self, model: ir.Model) -> None:
        """Raises ModelError where the pass can't start from this model."""
        if self.needs_normal_form and not is_normal(model):
            raise ModelError(f"{type(self).__name__} needs a model in normal form: run Normalize before it")

    def ensures(self, model: ir.Model) -> None:
        """Raises ModelError where the graph is not legal (`chanc.ir.verify`)."""
        verify(model)

    @overload
    def __call__(self, model_or_result: ir.Model | PassResult) -> PassResult: ...
    @overload
    def __call__(self, model_or_result: Any) -> Any: ...
    def __call__(self, model_or_result: Any) -> Any:
        """Run on an `onnx_ir.Model` or a `PassResult` (in place), or on a copy of anything else that can be loaded.

        Raises ModelError for what can't be read, what `requires` refuses, and what `ensures` finds.
        """
        if isinstance(model_or_result, (ir.Model, PassResult)):
            return self._run(model_or_result)
        return like(self._run(load(model_or_result)).model, model_or_result)

    def _run(self, model_or_result: ir.Model | PassResult) -> PassResult:
        model = model_or_result.model if isinstance(model_or_result, PassResult) else model_or_result
        stale = model.meta.pop(ANALYSIS, None)
        try:
            result = super().__call__(model_or_result)
        except InvariantError as error:
            if isinstance(error.__cause__, ChancError):
                raise error.__cause__ from None
            raise
        if not result.modified and stale is not None:
            result.model.meta.setdefault(ANALYSIS, stale)
        return result
