"""Watch a tree with watchdog, count the distinct paths it tells, and print the count at SIGTERM.

``python watchdog_paths.py TREE [COMMAND...]``: with COMMAND, that is run for each closed file, as a user would.
"""

import signal
import subprocess
import sys

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class Paths(FileSystemEventHandler):
    """Remembers each file that an event named."""

    def __init__(self, command: list[str]) -> None:
        self.paths: set[str | bytes] = set()
        self.command = command

    def on_any_event(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self.paths.add(event.src_path)
            if self.command and event.event_type == "closed":
                subprocess.run([*self.command, event.src_path], check=False)


def main() -> None:
    """Watch until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    handler = Paths(sys.argv[2:])
    observer = Observer()
    observer.schedule(handler, sys.argv[1], recursive=True)
    observer.start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    print("paths", len(handler.paths), flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    signal.raise_signal(signal.SIGKILL)  # its threads aren't waited for: the measurement is over
