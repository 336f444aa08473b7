"""Run a command as the terminal's foreground process group, so that Ctrl-C goes to it alone.

``make`` runs a recipe in its own process group; the terminal sends Ctrl-C to both, and make then dies of SIGINT
even if the command drained and exited 0. Here the command gets a group of its own and the terminal with it.
Ctrl-Z is ignored: make would never notice that its child has stopped. Without a terminal, or in the background,
the command is run as it is.
"""

import os
import signal
import sys


def take_terminal() -> None:
    """Make this process its own group in the terminal's foreground, if its group is there now."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    if os.tcgetpgrp(terminal) == os.getpgrp() != os.getpid():
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})


if __name__ == "__main__":
    take_terminal()
    os.execvp(sys.argv[1], sys.argv[1:])
