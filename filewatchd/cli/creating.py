"""Write several new files below one directory: all of them or none, and never over anything.

What the kernel does: open with O_CREAT|O_EXCL|O_NOFOLLOW makes a file or fails, also where a symlink has the name; link
gives a whole file its name, or fails if there is one. No call names several files at once. So each file is written
under a temporary name and synced first, all below directory descriptors; then they are given their names in the order
asked for, the one that puts the others in force last. Whatever fails on the way takes back what was made. After
kill -9 some files may be missing, but none is cut short, and none is in force without those before it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

from filewatchd.errors import FilewatchdError
from filewatchd.notation import one_line
from filewatchd.security import others_may_write
from filewatchd.state.atomic import sync_directory

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ERROR, _OVERWRITE, _PERMISSION = 1, 73, 77  # exit codes
_ELSEWHERE = "name another DIR"
_REMEDIES = {
    errno.EACCES: f"run it as a user who may write there, or {_ELSEWHERE}",
    errno.EPERM: f"run it as a user who may write there, or {_ELSEWHERE}",
    errno.EROFS: f"mount the filesystem read-write, or {_ELSEWHERE}",
    errno.ENOSPC: "free space on this filesystem",
    errno.EDQUOT: "free space, or raise the disk quota",
}


class NewFile(NamedTuple):
    """A file to be made: its name, in the directory or in a directory below it, and what it holds."""

    name: str
    text: str


class CreationError(FilewatchdError):
    """Nothing was written. ``paths``: what is in the way, or where it failed; ``remedy``: what to do about it."""

    def __init__(self, message: str, remedy: str, paths: Sequence[str], exit_code: int) -> None:
        super().__init__(f"{one_line(message)}; {one_line(remedy)}")
        self.message = message
        self.remedy = remedy
        self.paths = paths
        self.exit_code = exit_code


def examine(directory: str, files: Sequence[NewFile]) -> None:
    """Whether the files could be made, as far as that can be seen without making them.

    Args:
        directory: absolute; it need not exist.
        files: what is to be made.

    Raises:
        CreationError: they couldn't.
    """
    places = [_nearest(os.path.join(directory, folder)) for folder in ("", *_folders(files))]
    for place in places:
        if not os.path.isdir(place) or (place.startswith(f"{directory}/") and os.path.islink(place)):
            raise _not_a_directory(place)
    if taken := [path for path in (os.path.join(directory, file.name) for file in files) if os.path.lexists(path)]:
        raise _overwriting(taken)
    if reason := others_may_write(directory):
        message = f"a configuration in {directory} would be refused, because others may write it: {reason}"
        raise CreationError(message, f"take that permission away, or {_ELSEWHERE}", [directory], _ERROR)
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            number = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
            raise _failed(place, OSError(number, os.strerror(number)))


def create(directory: str, files: Sequence[NewFile], folders: Sequence[str] = (), *, mode: int = 0o755) -> None:
    """Make the files, in this order, and what directories they need. The umask may take rights away, as ever.

    Args:
        directory: absolute; it is made if it is missing, and so are those above it.
        files: what to make, with mode 0644.
        folders: names of directories to make in it, besides; they may be there.
        mode: of directories that are made.

    Raises:
        CreationError: nothing was written.
    """
    examine(directory, files)
    with ExitStack() as held, ExitStack() as undo:
        try:
            _Creation(directory, mode, undo, held).make(files, folders)
        except FileExistsError as error:
            raise _overwriting([os.path.join(directory, str(error.filename2 or error.filename))]) from error
        except NotADirectoryError as error:
            raise _not_a_directory(os.path.join(directory, str(error.filename))) from error
        except OSError as error:
            raise _failed(os.path.join(directory, str(error.filename or "")), error) from error
        undo.pop_all()


class _Creation:
    """One call of `create`. ``undo`` is for a failure, ``held`` for the end in any case."""

    def __init__(self, directory: str, mode: int, undo: ExitStack, held: ExitStack) -> None:
        self._directory = directory
        self._mode = mode
        self._undo = undo
        self._held = held
        self._open: dict[str, int] = {}

    def make(self, files: Sequence[NewFile], folders: Sequence[str]) -> None:
        """Raises OSError; its file names are relative to the directory, or absolute."""
        for missing in _missing(self._directory):
            os.mkdir(missing, self._mode)
            self._undo.callback(_remove_directory, missing)
            sync_directory(os.path.dirname(missing))
        self._open[""] = self._descriptor(self._directory, None)
        for folder in dict.fromkeys([*folders, *_folders(files)]):
            self._folder(folder)
        with ExitStack() as temporaries:
            written = [(file, self._write(file, temporaries)) for file in files]
            for file, temporary in written:
                self._name(file, temporary)
        for descriptor in self._open.values():
            os.fsync(descriptor)

    def _folder(self, name: str) -> None:
        top = self._open[""]
        with suppress(FileExistsError):
            os.mkdir(name, self._mode, dir_fd=top)
            self._undo.callback(_remove_directory, name, top)
        self._open[name] = self._descriptor(name, top)

    def _descriptor(self, path: str, above: int | None) -> int:
        descriptor = os.open(path, _DIRECTORY | (os.O_NOFOLLOW if above is not None else 0), dir_fd=above)
        self._held.callback(os.close, descriptor)
        return descriptor

    def _write(self, file: NewFile, temporaries: ExitStack) -> str:
        """Write it under a temporary name, which is its name in the file's directory."""
        folder, name = self._place(file)
        temporary = f".{name}.{secrets.token_hex(8)}.tmp"
        with open(os.open(temporary, _NEW_FILE, 0o644, dir_fd=folder), "w", encoding="utf-8") as stream:
            temporaries.callback(_remove_file, temporary, folder)
            stream.write(file.text)
            stream.flush()
            os.fsync(stream.fileno())
        return temporary

    def _name(self, file: NewFile, temporary: str) -> None:
        folder, name = self._place(file)
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise OSError(error.errno, error.strerror, file.name) from error
        self._undo.callback(_remove_file, name, folder)

    def _place(self, file: NewFile) -> tuple[int, str]:
        folder, name = os.path.split(file.name)
        return self._open[folder], name


def _folders(files: Sequence[NewFile]) -> Sequence[str]:
    """The directories below the directory that files are in."""
    return list(dict.fromkeys(filter(None, (os.path.dirname(file.name) for file in files))))


def _missing(directory: str) -> Sequence[str]:
    """The directories to make, those above first."""
    return list(_upwards(directory))[::-1]


def _upwards(path: str) -> Iterator[str]:
    while not os.path.lexists(path):
        yield path
        path = os.path.dirname(path)


def _nearest(path: str) -> str:
    """The path, or what is there above it."""
    missing = _missing(path)
    return os.path.dirname(missing[0]) if missing else os.path.normpath(path)


def _remove_file(name: str, folder: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _remove_directory(name: str, above: int | None = None) -> None:
    with suppress(OSError):  # somebody else has put something there
        os.rmdir(name, dir_fd=above)


def _overwriting(paths: Sequence[str]) -> CreationError:
    remedy = f"nothing was written: move {'it' if len(paths) == 1 else 'them'} away, or {_ELSEWHERE}"
    return CreationError(f"would overwrite {' and '.join(paths)}", remedy, paths, _OVERWRITE)


def _not_a_directory(path: str) -> CreationError:
    remedy = f"nothing was written: move it away, or {_ELSEWHERE}"
    return CreationError(f"{path} is not a directory", remedy, [path], _OVERWRITE)


def _failed(path: str, error: OSError) -> CreationError:
    remedy = f"nothing was written: {_REMEDIES.get(error.errno or 0, f'check the filesystem, or {_ELSEWHERE}')}"
    code = _PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else _ERROR
    path = os.path.normpath(path)
    return CreationError(f"{path}: {error.strerror or error}", remedy, [path], code)
