"""One self-contained HTML page: data, style and scripts inside it, nothing fetched, nothing of the data run as code.

All text that comes from a model or a run is untrusted. It goes in as JSON whose `<`, `>`, `&` and line separators are
escaped, so that it can't end the script element, and the scripts put it on the page with textContent only. A content
security policy forbids the page every connection, and every script and style but its own, which it names by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: NaN and infinities become None, NumPy scalars and arrays become Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def safe_json(value: Any) -> str:
    """Return JSON that may stand inside an HTML script element, whatever text is in `value`."""
    text = json.dumps(plain(value), ensure_ascii=True, separators=(",", ":"))
    for raw, escaped in _ESCAPES.items():
        text = text.replace(raw, escaped)
    return text


def page(title: str, data: Mapping[str, Any], scripts: Sequence[str]) -> str:
    """Return the HTML page that shows `data` with the named scripts of this package, in order."""
    own = [f"\n{_asset(name)}" for name in scripts]
    style = f"\n{_asset('page.css')}\n"
    parts = {
        "title": "".join(f"&#{ord(letter)};" if letter in "<>&\"'" else letter for letter in title),
        "script_hashes": " ".join(map(_source, own)),
        "style_hash": _source(style),
        "style": style,
        "data": safe_json({"title": title, **data}),
        "scripts": "\n".join(f"<script>{text}</script>" for text in own),
    }
    head, *rest = _asset("page.html").split("{{")
    for piece in rest:
        key, tail = piece.split("}}", 1)
        head += parts[key] + tail
    return head


def _source(text: str) -> str:
    """What a content security policy calls the script or style element that holds `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("chanc.report").joinpath(name).read_text(encoding="utf-8")
