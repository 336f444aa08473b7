"""What sha256sum and AIDE say of a tree."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from filewatchd.actions.checksum.formats import Entry, read

#: AIDE's words for what ours are
ATTRIBUTES = {
    "perm": "mode", "uid": "uid", "gid": "gid", "link_count": "links", "size": "size", "sha256": "digest",
    "xattrs": "xattr", "acl": "acl",
}  # fmt: skip


class Difference(NamedTuple):
    """What became of the regular files of a tree, by absolute path; ``changed``: what is other."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: dict[str, frozenset[str]]


def sha256sums(root: Path) -> dict[str, bytes]:
    """All regular files."""
    find = ["find", str(root), "-type", "f", "-print0"]
    names = subprocess.run(find, capture_output=True, check=True).stdout
    command = ["xargs", "-0", "-r", "sha256sum", "-b", "--"]
    done = subprocess.run(command, input=names, capture_output=True, check=True)
    import io

    found = read(io.BytesIO(done.stdout)).entries
    return {os.fsdecode(entry.path): entry.digest for entry in found if isinstance(entry, Entry)}


class Aide:
    """AIDE with its own database."""

    def __init__(self, directory: Path, root: Path) -> None:
        self._config = directory / "aide.conf"
        self._database = directory / "aide.db"
        self._config.write_text(
            f"database_in=file:{self._database}\ndatabase_out=file:{self._database}\ngzip_dbout=no\n"
            "report_format=json\nreport_level=changed_attributes\nreport_url=stdout\nnum_workers=2\n"
            f"{root} f p+u+g+n+s+sha256+acl+xattrs\n"
        )

    def _run(self, what: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["aide", f"--config={self._config}", what], capture_output=True, check=False)

    def init(self) -> dict[str, bytes]:
        """Make the database; the digests in it."""
        done = self._run("--init")
        assert done.returncode == 0, done
        found = {}
        columns: list[str] = []
        for line in self._database.read_text("utf-8", "surrogateescape").split("\n"):
            if line.startswith("@@db_spec"):
                columns = line.split()[1:]
            elif line and line[0] not in "#@":
                row = dict(zip(columns, line.split(" "), strict=False))
                name = os.fsdecode(urllib.parse.unquote_to_bytes(os.fsencode(row["name"])))
                found[name] = base64.b64decode(row["sha256"])
        return found

    def check(self) -> Difference:
        """Compare the tree with the database."""
        done = self._run("--check")
        assert done.returncode < 14, done  # 1, 2 and 4 are findings
        report = json.loads(done.stdout.decode("utf-8", "surrogateescape"))
        changed = {path: frozenset(map(_word, what)) for path, what in report.get("details", {}).items()}
        return Difference(frozenset(report.get("added", ())), frozenset(report.get("removed", ())), changed)


def _word(attribute: str) -> str:
    return ATTRIBUTES.get(attribute, attribute)
