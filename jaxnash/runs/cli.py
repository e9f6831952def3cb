"""The edge of a script: its command line, and errors of the user as one line and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from jaxnash.runs.directory import knobs_of, run_directory
from jaxnash.runs.files import disk_error, read_json
from jaxnash.types import JaxnashError

K = TypeVar("K")
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def main(run: Callable[[], object]) -> None:
    """Call `run`. A `JaxnashError` or a full disk: one red line on stderr and exit code 2.

    Ctrl-C: exit code 130 and how to resume. Any other exception is a bug and keeps its traceback.
    """
    try:
        run()
    except JaxnashError as error:
        sys.exit(_say(f"error: {error}", style="bold red", code=2))
    except OSError as error:
        if error.errno not in DISK:
            raise
        sys.exit(_say(f"error: {disk_error(error.filename or 'the run', error)}", style="bold red", code=2))
    except KeyboardInterrupt:
        hint = (
            "interrupted; the same command with --resume (and the same --run-dir) continues where it stopped"
        )
        sys.exit(_say(hint, style="yellow", code=130))


def command_line(
    kind: type[K],
    stem: str,
    *,
    description: str | None,
    args: list[str] | None = None,
    default: K | None = None,
) -> K:
    """The knobs (a dataclass with `resume` and `run_dir`) that a command line names.

    What it leaves out is `default`, or with `--resume` the resumed run's own: no option has to be repeated.
    """
    import tyro

    given: Any = tyro.cli(kind, args=args, default=default or kind(), description=description)
    if not given.resume:
        return given
    config = run_directory(stem, given.run_dir, resume=True) / "config.json"
    if not config.exists():
        return given
    own = {name: it for name, it in read_json(config).items() if name not in ("resume", "run_dir", "at")}
    return tyro.cli(kind, args=args, default=knobs_of(kind, own), description=description)


def _say(text: str, *, style: str, code: int) -> int:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(" ".join(text.split()), style=style))
    return code
