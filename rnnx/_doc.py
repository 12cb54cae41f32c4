"""Docstring text that is written once: shared by several, or known from the signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Documented = TypeVar("Documented", bound=Callable[..., Any])

_PARAMETERS = re.compile(r"^Parameters\n-+\n.*?(?=^\w[\w ]*\n---|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : (.+)$", re.MULTILINE)


def shared(**texts: str) -> Callable[[Documented], Documented]:
    r"""Return a decorator that completes a docstring.

    It replaces every ``{name}`` by a text, and adds the defaults of the signature to the types of
    the parameters.

    Examples
    --------
    >>> @shared(n="n : int")
    ... def f(n=3):
    ...     '''Do nothing.\n\nParameters\n----------\n{n}\n    How often.'''
    >>> print(f.__doc__.splitlines()[-2])
    n : int, default 3
    """

    def decorate(documented: Documented) -> Documented:
        doc = filled(documented.__doc__, texts)
        documented.__doc__ = with_defaults(doc, defaults_of(documented))
        return documented

    return decorate


def filled(doc: str | None, texts: Mapping[str, str]) -> str:
    """Return a docstring with every ``{name}`` replaced by a text."""
    doc = inspect.cleandoc(doc or "")  # empty under python -OO
    for name, text in texts.items():
        doc = doc.replace(f"{{{name}}}", inspect.cleandoc(text))
    return doc


def with_defaults(doc: str, defaults: Mapping[str, Any]) -> str:
    """Return a docstring whose types of parameters end with the defaults.

    Unless they say it already; "optional" says that None is the default.
    """

    def entry(match: re.Match[str]) -> str:
        names, kind = match[1].split(", "), match[2]
        known = {name: _written(defaults[name]) for name in names if name in defaults}
        known = {name: text for name, text in known.items() if text}
        said = "optional" in kind and {*known.values()} == {"None"}
        if not known or said or ", default" in kind:
            return match[0]
        text = " and ".join(dict.fromkeys(known.values()))
        if len(known) < len(names):
            text = ", ".join(f"{value} for {name}" for name, value in known.items())
        return f"{match[1]} : {kind}, default {text}"

    return _PARAMETERS.sub(lambda section: _ENTRY.sub(entry, section[0]), doc)


def defaults_of(documented: Any) -> dict[str, Any]:
    """Return the defaults of a function, or of a class and of those that it derives from."""
    if not inspect.isclass(documented):
        return _defaults(documented)
    found: dict[str, Any] = {}
    for kind in reversed(documented.__mro__):
        if inspect.isfunction(vars(kind).get("__init__")):
            found |= _defaults(vars(kind)["__init__"])
    return found


def _defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _written(value: Any) -> str:
    """Return a default as one types it; nothing for an object without such a form."""
    if isinstance(value, str):
        return f'"{value}"'
    plain = value is None or isinstance(value, bool | int | float | tuple)
    return repr(value) if plain else ""
