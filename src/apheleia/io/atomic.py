"""Whole files or none: write beside the target, then replace it in one step."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apheleia.core.errors import FileError

__all__ = ["atomic_path", "atomic_write_bytes"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; it replaces `path` when the block ends without an exception.

    A reader sees the old file or the new one, never a part. On any exception the temporary file is removed and an old file
    stays as it was. Symbolic links are followed and the permissions of an old file are kept.

    Parameters
    ----------
    path : str or path
        The file to write; its folder must exist.

    Yields
    ------
    Path
        An empty file with the suffix of `path`, for the block to fill.

    Raises
    ------
    FileError
        If the folder is missing or not writable, `path` is not a regular file, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with atomic_path(Path(folder.name) / "note.txt") as temporary:
    ...     _ = temporary.write_text("done")
    >>> (Path(folder.name) / "note.txt").read_text()
    'done'
    >>> folder.cleanup()
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target, path)
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        # 0o666 lets the umask decide, which tempfile's 0o600 does not.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode))
    except OSError as error:
        raise FileError(f"{path} cannot be written in the folder {target.parent}: {error.strerror}.") from error
    try:
        yield temporary
        try:
            if mode is not None:
                os.chmod(temporary, mode)
            _sync(temporary)
            os.replace(temporary, target)
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}; it is as it was before.") from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Parameters
    ----------
    path : str or path
        The file to write; its folder must exist.
    data : bytes
        The whole content.

    Raises
    ------
    FileError
        If the file cannot be written; an old file stays as it was.
    """
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data)
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}; it is as it was before.") from error


def _mode_of(target: Path, path: str | os.PathLike[str]) -> int | None:
    """Permissions of the file to be replaced, None where there is none yet."""
    try:
        status = target.stat()
    except FileNotFoundError:
        if target.parent.is_dir():
            return None
        raise FileError(f"{path} cannot be written: the folder {target.parent} does not exist; make it first.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be written: {error}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} cannot be written: it exists and is not a regular file; choose another name.")
    return stat.S_IMODE(status.st_mode)


def _sync(temporary: Path) -> None:
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
