"""Linux capabilities of this process, by name: capabilities(7)."""

from __future__ import annotations

import re

# The bits of linux/capability.h, in order.
# fmt: off
_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)
# fmt: on
CAPABILITIES = {f"CAP_{name}": bit for bit, name in enumerate(_NAMES)}


def held(name: str) -> bool:
    """Whether this process has a capability in its effective set. False where the system knows none."""
    return bool(_effective() >> CAPABILITIES[name] & 1)


def _effective() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1], 16) if found else 0
