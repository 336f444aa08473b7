"""What an operator can do about the system's refusals at the files that an action works on."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.ENOSPC: "free space on its filesystem",
    errno.EDQUOT: "free space, or raise the quota of the files' owner",
    errno.EROFS: "mount its filesystem read-write (journalctl -k tells why it is not)",
    errno.EACCES: "let the daemon's user, or the rule's, at it; a unit needs ReadWritePaths= for it",
    errno.EPERM: "let the daemon's user, or the rule's, do that (is the file immutable? lsattr tells)",
    errno.EMFILE: "raise the open-files limit (LimitNOFILE=)",
    errno.ENFILE: "raise the system's open-files limit (fs.file-max)",
    errno.EIO: "check the disk (journalctl -k, smartctl)",
    errno.ENOMEM: "give the daemon more memory (MemoryMax=)",
    errno.ENOENT: "put it back, or wait until it is there again",
    errno.ENAMETOOLONG: "give the file a shorter name",
}


def remedied(error: OSError) -> str:
    """What the system said, of which file, and what can be done about it."""
    said = error.strerror or str(error)
    where = f"{error.filename!r}: " if isinstance(error.filename, (str, bytes)) and error.filename else ""
    return f"{where}{said}; {_REMEDIES.get(error.errno or 0, 'check the filesystem and its mount options')}"
