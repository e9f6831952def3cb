"""Files that survive `kill -9` and a full disk: atomic JSON and bytes, append-only JSON lines."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from jaxnash.types import JaxnashError

TIMING = "timing"  # the one object of a JSON file (and of a JSON line) that holds its seconds and timestamps

WAYS_OUT = {
    errno.ENOSPC: "free some space and continue with --resume",
    errno.EDQUOT: "your disk quota is used up: free some space and continue with --resume",
    errno.EFBIG: "raise the file size limit (ulimit -f) and continue with --resume",
    errno.EROFS: "choose a --run-dir on a writable disk",
    errno.EACCES: "choose a --run-dir that you may write",
    errno.EPERM: "choose a --run-dir that you may write",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another --run-dir",
    errno.EEXIST: "a file stands where a folder is needed: choose another --run-dir",
    errno.EISDIR: "a folder stands where the file should go: move it away",
}


def disk_error(path: str | Path, error: OSError) -> JaxnashError:
    """One line for a write that failed: the path, the reason in the system's words, the way out."""
    way_out = WAYS_OUT.get(error.errno or 0, "check the disk and continue with --resume")
    return JaxnashError(f"cannot write {path}: {error.strerror or error}; {way_out}")


def first_line(error: Exception) -> str:
    """What went wrong, for one line: others' messages may be pages."""
    return (str(error) or type(error).__name__).strip().splitlines()[0][:1000]


def plain(obj: Any) -> Any:
    """`obj` as JSON has it: arrays and tuples become lists, paths strings, NaN and infinities null."""
    if isinstance(obj, dict):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [plain(value) for value in obj]
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return plain(dataclasses.asdict(obj))
    if (tolist := getattr(obj, "tolist", None)) is not None:  # numpy and jax arrays and scalars
        return plain(tolist())
    raise TypeError(f"{type(obj).__name__} cannot be written as JSON")


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` atomically. Keys keep their order, floats their `repr`; raises `JaxnashError` as below."""
    write_bytes(path, (json.dumps(plain(obj), indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the file by `data` or leave it as it was, also when the process or the machine dies.

    Raises `JaxnashError` naming the path and the way out when the disk is full, read-only or not ours.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; raises `JaxnashError` naming the path when it is missing or broken."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise JaxnashError(
            f"cannot read {path}: {error.strerror or error}; is this a run directory?"
        ) from error
    except ValueError as error:
        raise JaxnashError(
            f"{path} is not valid JSON ({error}); restore it or start a new --run-dir"
        ) from error


def append_jsonl(path: str | Path, row: dict, *, key: str | None = None) -> None:
    """Append one synced line; a torn last line is cut off first.

    With `key`, rows already there whose `row[key]` is not below this row's are dropped first: a resumed
    run that repeats the steps since its last checkpoint leaves the file that an unbroken run leaves.
    Raises `JaxnashError` (the file as it was) when the disk is full or not writable.
    """
    path, row = Path(path), plain(row)
    line = _line(row)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:  # unbuffered: a failed write leaves nothing to flush
            end, last = _last_line(file)
            if key is None or not last or _parse(path, last)[key] < row[key]:
                file.truncate(end)
                try:
                    left = line
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
                return
    except OSError as error:
        raise disk_error(path, error) from error
    kept = [old for old in read_jsonl(path) if old[key] < row[key]]
    write_bytes(path, b"".join(map(_line, kept)) + line)


def _line(row: dict) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _parse(path: Path, line: bytes) -> dict:
    try:
        return json.loads(line)
    except ValueError as error:
        raise JaxnashError(
            f"{path} holds a line that is not JSON: {line[:60]!r}; delete that line"
        ) from error


def _last_line(file: IO[bytes]) -> tuple[int, bytes]:
    """Where the whole lines of the file end, and the last of them (empty if there is none)."""
    size = file.seek(0, os.SEEK_END)
    window = 1 << 16
    while True:
        start = max(0, size - window)
        file.seek(start)
        tail = file.read(size - start)
        end = tail.rfind(b"\n") + 1
        begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
        if start == 0 or begin > 0:
            break
        window *= 8
    return (start + end, tail[begin:end]) if end else (0, b"")


def read_jsonl(path: str | Path) -> list[dict]:
    """All whole rows (a torn last line is dropped); raises `JaxnashError` if missing or broken inside."""
    try:
        lines = Path(path).read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise JaxnashError(
            f"cannot read {path}: {error.strerror or error}; is this a run directory?"
        ) from error
    return [_parse(Path(path), line) for line in lines]


def without_timing(obj: Any) -> Any:
    """`obj` without its "timing" objects, wherever they are: what two runs of one seed must agree on."""
    if isinstance(obj, dict):
        return {key: without_timing(value) for key, value in obj.items() if key != TIMING}
    if isinstance(obj, list):
        return [without_timing(value) for value in obj]
    return obj
