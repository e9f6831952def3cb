"""The edge of a script: errors of the user become one line and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from jaxnash.runs.files import disk_error
from jaxnash.types import JaxnashError

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


def _say(text: str, *, style: str, code: int) -> int:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text(" ".join(text.split()), style=style))
    return code
