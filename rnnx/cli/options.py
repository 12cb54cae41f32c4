"""Options of the command, from the signature and the docstring of a class."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

NAMES = {"num_layers": "layers", "random_state": "seed"}  # parameter -> option, where they differ
PYTHON = ("verbose", "warm_start")  # parameters without an option
WORDS = {  # instead of what the docstring says to people who write Python
    "backend": "numpy, cupy, torch, jax, array_api_strict, or auto: cupy if it has a GPU",
    "device": "index or name of the device, such as 1 or cuda:1",
    "dtype": "float32 or float64",
    "seed": "random seed: the same seed gives the same result",
}


def flag(name: str) -> str:
    """Return the option of this name, as it is typed."""
    return f"--{name.replace('_', '-')}"


def add_table(group: Any, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the options of a table."""
    for name, how in table.items():
        group.add_argument(flag(name), **how)


def add(group: Any, cls: Any) -> None:
    """Add an option for each parameter of a class but `PYTHON`: help from its docstring."""
    parameters = inspect.signature(cls).parameters
    for parameter_name, (kind, text) in described(cls).items():
        if parameter_name in PYTHON:
            continue
        parameter = parameters[parameter_name]
        name, annotation = NAMES.get(parameter.name, parameter.name), str(parameter.annotation)
        text = WORDS.get(name, text[0].lower() + text[1:].rstrip("."))
        how: dict[str, Any] = {"dest": parameter.name, "default": parameter.default}
        if annotation == "bool" and not parameter.default:
            how["action"] = "store_true"
        else:
            choices = re.findall(r'"(\w+)"', kind) + ["none"] * kind.endswith("None")
            how["type"] = read = reader(parameter.name, annotation)
            metavar = {"int": "N", "float": "X", "_truth": "true|false"}.get(read.__name__, "NAME")
            how["metavar"] = "|".join(choices) if len(choices) > 1 else metavar
            default = str(parameter.default)
            default = default.lower() if annotation == "bool" else default  # as it is typed
            text += f" (default: {default})" * (parameter.default is not None)
        group.add_argument(flag(name), help=text.replace("`", "").replace("%", "%%"), **how)


def values(cls: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments for a class among the parsed options."""
    names = inspect.signature(cls).parameters
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def described(cls: Any) -> dict[str, tuple[str, str]]:
    """Return the type, without the default, and the text of each parameter in a docstring."""
    document = inspect.getdoc(cls) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n---|\Z)", document, re.MULTILINE | re.S)
    entries = re.findall(r"^(\w+) : (.+)\n((?:    .+\n?)+)", section[1] if section else "", re.M)
    return {
        name: (kind.partition(", default")[0], " ".join(text.split()))
        for name, kind, text in entries
    }


def reader(name: str, annotation: str) -> Callable[[str], Any]:
    """Return the function that converts an option's text to the annotated type."""
    types: dict[str, Callable[[str], Any]] = {
        "int": int, "float": float, "Any": _number_or_name, "bool": _truth,
    }  # fmt: skip
    kinds = ["int"] if name in ("seed", "random_state") else annotation.split(" | ")
    read = types.get(kinds[0], str)

    def convert(text: str) -> Any:
        if text.lower() == "none" and "None" in kinds:
            return None
        return text if text == "auto" and "str" in kinds else read(text)

    convert.__name__ = read.__name__  # argparse says "invalid int value"
    return convert


def names(text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    found = [name.strip() for name in text.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(
            f"expected names separated by commas, each once, got {text!r}"
        )
    return found


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def numbers(text: str) -> list[float]:
    """Return the numbers in a comma-separated list."""
    try:
        found = [float(number) for number in text.split(",")]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(
            f"expected numbers separated by commas, each once, got {text!r}"
        )
    return found


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
