"""Names for everything that has one: rules, emitters, transfers, importances, methods, data sets, frontends, presets.

    TRANSFERS: Registry[Transfer] = Registry("transfer", "chanc.transfers", "chanc.rewriter.transfer")

    @TRANSFERS.register("mean")
    def mean(...): ...

A registry that is asked first imports its homes, the modules in which chanc's own things register themselves, and then
loads the entry points of its group, in which those of other distributions do. `Operators` is the one for what belongs
to an operator: its names are (domain, operator, since-version).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from chanc import plugins
from chanc.errors import ChancError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


_TABLES: dict[str, list[_Table[Any, Any]]] = {}
"""The registries of each group of entry points."""


class Entry(NamedTuple, Generic[T]):
    """A registered thing, a line that describes it, and the full name of the function or class that it is."""

    thing: T
    help: str
    origin: str


class _Table(Mapping[K, T]):
    """What both registries share: things are loaded when they are needed, and no name means two of them."""

    def __init__(self, what: str, group: str, *homes: str, error: type[ChancError] = ChancError) -> None:
        """Name what is registered, its entry points and its homes (of a package: all below it); `error` is raised."""
        self.what = what
        self.group = group
        self.error = error
        self._homes = homes
        self._entries: dict[K, Entry[T]] = {}
        self._imported = self._loaded = False
        _TABLES.setdefault(group, []).append(self)

    def add(self, key: K, thing: T, *, source: object = None, help: str = "") -> None:
        """Register a thing; registering the same function or class again, as a notebook does, replaces it.

        source: the function or class that `thing` was made of, where it is none itself. help: one line, by default the
        first of the source's docstring. Raises ChancError where the name means something else already.
        """
        source = thing if source is None else source
        origin = _origin(source)
        if not getattr(source, "__module__", "chanc.").startswith("chanc."):
            self._import_homes()  # so that it is the stranger's thing that is refused
        before = self._entries.get(key)
        again = before is not None and (("<" not in origin and before.origin == origin) or before.thing == thing)
        if before is not None and not again:
            both = f"{before.origin} and {origin}"
            raise self.error(f"two things are the {self.what} {self.written(key)}: {both}")
        about = (getattr(source, "__doc__", None) or "") if hasattr(source, "__qualname__") else ""
        self._entries[key] = Entry(thing, help or about.strip().partition("\n")[0], origin)
        self._changed()

    def help(self, key: K) -> str:
        """One line on what a thing is; empty where nobody wrote one."""
        self[key]
        return self._entries[key].help

    def written(self, key: K) -> str:
        """A key as messages have it."""
        return repr(key)

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """What is registered, replaced or removed inside is as before at the end: for tests and trials."""
        self._load()
        before = dict(self._entries)
        try:
            yield
        finally:
            self._entries = before
            self._changed()

    def remove(self, key: K) -> None:
        """Forget a thing. Raises as `[]`."""
        self[key]
        del self._entries[key]
        self._changed()

    def __getitem__(self, key: K) -> T:
        self._load()
        if key not in self._entries:
            raise self.error(self._unknown(key))
        return self._entries[key].thing

    def __contains__(self, key: object) -> bool:
        self._load()
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        """The names, sorted: the order doesn't depend on what was imported first."""
        self._load()
        return iter(sorted(self._entries))  # type: ignore[type-var]  # names are strings or tuples of them

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _changed(self) -> None:
        """Entries came or went."""

    def _unknown(self, key: K) -> str:
        return f"there is no {self.what} {self.written(key)}"

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # what asks while it is loaded itself sees what is there
        try:
            self._import_homes()
            if plugins.entries(self.group):
                for table in _TABLES[self.group]:
                    table._import_homes()  # all that is chanc's own stands before a stranger's
                plugins.load(self.group)
        except BaseException:
            self._loaded = False
            self._changed()  # what was asked meanwhile must not be taken for all there is
            raise

    def _import_homes(self) -> None:
        if self._imported:
            return
        self._imported = True
        try:
            for home in self._homes:
                package = importlib.import_module(home)
                for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{home}."):
                    importlib.import_module(module.name)
        except BaseException:
            self._imported = False
            raise


class Registry(_Table[str, T]):
    """Things by name."""

    def register(self, name: str, *, help: str = "") -> Callable[[U], U]:
        """Decorator: make a function or class known under `name`. Raises ChancError where the name is taken."""

        def add(thing: U) -> U:
            self.add(name, thing, help=help)  # type: ignore[arg-type]  # a decorator can't bind U to T
            return thing

        return add

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(self)

    def _unknown(self, key: str) -> str:
        near = difflib.get_close_matches(str(key), self._entries, 1)
        guess = f" (did you mean {near[0]!r}?)" if near else ""
        return f"{super()._unknown(key)}{guess}; there are {', '.join(self)}"


class Operator(NamedTuple):
    """An operator from one opset version on; domain "" is ai.onnx."""

    domain: str
    name: str
    since: int = 1


class Operators(_Table[Operator, T]):
    """Things by operator and since-version: a thing holds until a newer one does."""

    _newest: Mapping[tuple[str, str], tuple[tuple[int, T], ...]] | None = None
    """What each operator has, the newest first; None where that has to be put together again."""

    def rule(self, *names: str, domain: str = "", since: int = 1) -> Callable[[T], T]:
        """Decorator: register a function for the operators named. Raises ChancError where one has another already."""

        def register(function: T) -> T:
            for name in names:
                self.add(Operator(_short(domain), name, since), function)
            return function

        return register

    def find(self, domain: str, name: str, version: int) -> T | None:
        """The newest thing that holds at that opset version, or None."""
        return next((thing for since, thing in self.versions(domain, name) if since <= version), None)

    def versions(self, domain: str, name: str) -> tuple[tuple[int, T], ...]:
        """(since-version, thing) of everything an operator has, the newest first."""
        if self._newest is None:
            self._newest = self._by_operator()
        return self._newest.get(("" if domain == "ai.onnx" else domain, name), ())

    def names(self) -> Iterator[tuple[str, str]]:
        """(domain, operator) of everything here, sorted."""
        return iter(sorted({(key.domain, key.name) for key in self}))

    def written(self, key: Operator) -> str:
        """`ai.onnx::Relu since version 14`."""
        return f"of {key.domain or 'ai.onnx'}::{key.name} since version {key.since}"

    def _by_operator(self) -> dict[tuple[str, str], tuple[tuple[int, T], ...]]:
        self._load()
        newest: dict[tuple[str, str], tuple[tuple[int, T], ...]] = {}
        for key in sorted(self._entries, reverse=True):
            kind = (key.domain, key.name)
            newest[kind] = (*newest.get(kind, ()), (key.since, self._entries[key].thing))
        return newest

    def _changed(self) -> None:
        self._newest = None


def _short(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _origin(thing: object) -> str:
    """The full name of a function or class. One with a "<" in it is shared with others: lambdas, closures, values."""
    name = getattr(thing, "__qualname__", f"<{type(thing).__name__}>")
    return f"{getattr(thing, '__module__', '')}.{name}"
