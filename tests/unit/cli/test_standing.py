"""The daemon's command where its standard descriptors aren't as they should be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import os, sys
from filewatchd.cli.daemon import main
main(["check", "--config", sys.argv[1]])
print("said", file=sys.stderr, flush=True)
sys.exit(0 if os.open(sys.argv[1], os.O_RDONLY) > 2 else 1)
"""


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_standard_descriptor_that_is_closed(tmp_path: Path, closed: str) -> None:
    """What is said to it would else go into that file: the lock, or a user's."""
    config = tmp_path / "filewatchd.yaml"
    config.write_text("version: 1\n")
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", _CODE, str(config)]
    assert subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("most", [10, 14])
def test_too_few_descriptors_are_told_in_a_sentence(tmp_path: Path, most: int) -> None:
    config = tmp_path / "filewatchd.yaml"
    config.write_text("version: 1\n")
    code = "import sys; from filewatchd.cli.daemon import main; sys.exit(main())"
    flags = ["--config", str(config), "--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run")]
    limited = ["sh", "-c", f'ulimit -n {most}; exec "$@"', "sh", sys.executable, "-c", code, "run", *flags]
    ended = subprocess.run(limited, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Too many open files: raise the limit (LimitNOFILE= of the unit, ulimit -n)" in ended.stderr
    assert "Traceback" not in ended.stderr
