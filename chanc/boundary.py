"""The line that a mistake doesn't cross: what a pass, a formula or an emitter stumbles over becomes a ModelError.

    @boundary("shape inference")
    def infer_shapes(model): ...

Models come from anywhere, and code that reads them assumes more than it knows. The error names the place, and the node
where one is known, and keeps its cause. Who wants to see mistakes as they are, a test of valid models, says so:

    with strict():
        analyze(model)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chanc.errors import ChancError, NotUnderstood

_STRICT = [False]


@contextmanager
def boundary(where: str) -> Iterator[None]:
    """Whatever is raised inside, but a ChancError or an OSError, is NotUnderstood at this place; a decorator, too."""
    try:
        yield
    except (ChancError, OSError):
        raise
    except Exception as error:
        raise NotUnderstood(f"{where} can't make sense of the model ({stumbled(error)})") from error


def stumbled(error: Exception) -> str:
    """What was raised, as part of a line; raises it again where mistakes are to be seen."""
    if _STRICT[0]:
        raise error
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def strict() -> Iterator[None]:
    """Let mistakes through as they are raised, in this process."""
    before, _STRICT[0] = _STRICT[0], True
    try:
        yield
    finally:
        _STRICT[0] = before
