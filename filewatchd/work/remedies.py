"""What an operator can do about the system's refusals at the files that an action works on."""

from __future__ import annotations

import errno

from filewatchd.state.atomic import remedy

# Where they aren't those of the state directory.
_REMEDIES = {
    errno.EROFS: "mount its filesystem read-write (journalctl -k tells why it is not)",
    errno.EACCES: "let the daemon's user, or the rule's, at it; a unit needs ReadWritePaths= for it",
    errno.EPERM: "let the daemon's user, or the rule's, do that (is the file immutable? lsattr tells)",
    errno.ENOMEM: "give the daemon more memory (MemoryMax=)",
    errno.ENOENT: "put it back, or wait until it is there again",
    errno.ENAMETOOLONG: "give the file a shorter name",
}


def remedied(error: OSError) -> str:
    """What the system said, of which file, and what can be done about it."""
    said = error.strerror or str(error)
    where = f"{error.filename!r}: " if isinstance(error.filename, (str, bytes)) and error.filename else ""
    number = error.errno or 0
    return f"{where}{said}; {_REMEDIES.get(number) or remedy(number)}"
