"""Becoming a program, the last step of every command. It imports as little as possible."""

import posix


def execute(argv: list[bytes], env: dict[bytes, bytes]) -> None:
    """Replace this process by the program, searched on the PATH of its own environment; returns never."""
    if b"/" in argv[0]:
        posix.execve(argv[0], argv, env)
    worst: OSError = FileNotFoundError(2, "not on PATH")
    for directory in env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
        try:
            if directory:  # an empty one would mean the working directory
                posix.execve(directory + b"/" + argv[0], argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            worst = error
    raise worst
