"""filewatchd, installed in a Debian root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.systemd.layers import Stack, add, packages

_TREE = Path(__file__).parents[3]

_STAGE = """
mkdir -p /usr/lib/filewatchd /etc/filewatchd/rules.d
cp -r site/. /usr/lib/filewatchd
for name in filewatchd filewatchctl; do
    module=daemon
    [ $name = filewatchd ] || module=control
    printf '#!/usr/bin/python3 -I\\nimport sys\\nsys.path.insert(0, "/usr/lib/filewatchd")\\n' >/usr/bin/$name
    printf 'from filewatchd.cli.%s import main\\nsys.exit(main())\\n' $module >>/usr/bin/$name
    chmod 755 /usr/bin/$name
done
cp systemd/*.service systemd/*.socket /usr/lib/systemd/system
cp systemd/user/* /usr/lib/systemd/user
cp systemd/sysusers.d/* /usr/lib/sysusers.d
systemd-sysusers
mkdir -p /usr/share/doc/filewatchd
cp -r systemd/hardening /usr/share/doc/filewatchd
"""


def installed(below: Stack, directory: Path) -> Stack:
    """The stack with this tree's filewatchd installed."""
    site = directory / "site"
    words = ["install", "-q", "--target", str(site), "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([sys.executable, "-m", "pip", *words, "-r", str(_TREE / "requirements/run.lock")], check=True)
    words = ["install", "-q", "--target", str(site), "--no-deps", "--only-binary", ":all:", "dbus-fast"]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    shutil.copytree(_TREE / "filewatchd", site / "filewatchd", ignore=shutil.ignore_patterns("__pycache__"))
    files = {"site": site, "systemd": _TREE / "systemd"}
    return add(packages(below, "python3-systemd"), _STAGE, files=files)
