"""Watch a tree with watchfiles at its defaults, count the distinct paths it tells, and print the count at SIGTERM.

``python watchfiles_paths.py TREE [COMMAND...]``: with COMMAND, that is run for each change, as a user would.
"""

import signal
import subprocess
import sys
from types import FrameType

from watchfiles import watch

PATHS: set[str] = set()


def finish(number: int, frame: FrameType | None) -> None:
    """Say what was told, and end."""
    print("paths", len(PATHS), flush=True)
    signal.raise_signal(signal.SIGKILL)


def main() -> None:
    """Watch until SIGTERM. An empty first round says that the watches stand."""
    signal.signal(signal.SIGTERM, finish)
    said = False
    for changes in watch(sys.argv[1], yield_on_timeout=True, rust_timeout=100, raise_interrupt=False):
        if not said:
            print("ready", flush=True)
            said = True
        PATHS.update(path for _, path in changes)
        if len(sys.argv) > 2:
            for _, path in changes:
                subprocess.run([*sys.argv[2:], path], check=False)


if __name__ == "__main__":
    main()
