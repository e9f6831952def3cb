"""Things that a command line names: "leduc", "goofspiel(cards=4)"."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

from jaxnash.types import JaxnashError


def made(kind: str, text: str, makers: dict[str, Callable[..., Any]], **given: Any) -> Any:
    """What `text`, a name or "name(parameter=value,...)", asks for; `given` where the maker takes it.

    Values are numbers of the kind of their default. Raises `JaxnashError` naming what there is for an unknown
    name or parameter, and what is wanted for a wrong value.
    """
    parts = re.fullmatch(r"\s*([^()]+?)\s*(?:\((.*)\)\s*)?", text)
    name = parts[1] if parts else text
    if parts is None or name not in makers:
        raise JaxnashError(f"no {kind} is called {name!r}: there are {', '.join(makers)}")
    known = inspect.signature(makers[name]).parameters
    arguments = {key: value for key, value in given.items() if key in known}
    for part in filter(str.strip, (parts[2] or "").split(",")):
        key, _, said = (piece.strip() for piece in part.partition("="))
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no parameters"
            raise JaxnashError(f"{kind} {name} has no parameter {key!r}: it {takes}")
        likeness = arguments.get(key, known[key].default)
        try:
            value = ast.literal_eval(said)
        except (ValueError, SyntaxError):
            value = None
        if type(value) is not int and (type(value) is not float or isinstance(likeness, int)):
            wanted = "a whole number" if isinstance(likeness, int) else "a number"
            raise JaxnashError(f"{kind} {name}: {key} is {said or 'not given'}, pass {wanted}")
        arguments[key] = value
    return makers[name](**arguments)
