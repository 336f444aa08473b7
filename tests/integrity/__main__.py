"""``python -m tests.integrity``: the agreement with sha256sum and AIDE on a real tree, at any size. As root."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.integrity.proving import proof
from tests.integrity.tree import copied, made_up


def main() -> int:
    """Run; 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.integrity", description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--edits", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tree", default="/usr", help="the tree that is copied; '' for one that is made up")
    parser.add_argument("--log", help="write the edits here")
    parser.add_argument("--dir", default="/var/tmp", help="where the copy is made")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="filewatchd-integrity-", dir=said.dir) as directory:
        tree = (lambda root: copied(root, said.tree, said.files)) if said.tree else (
            lambda root: made_up(root, said.files, said.seed)
        )  # fmt: skip
        found = proof(Path(directory), tree, said.edits, said.seed, partial(print, flush=True))
    if said.log:
        Path(said.log).write_text("\n".join(found.log))
    print(f"{found.files} files, edits {dict(found.edits)}")
    print(f"verdicts {dict(found.verdicts)}")
    print("\n".join(found.parted[:200]) or "all agree")
    return 1 if found.parted else 0


if __name__ == "__main__":
    sys.exit(main())
