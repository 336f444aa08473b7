"""Where a daemon's directories are is known, whatever else is wrong with its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from filewatchd.config.runtime import runtime_directory, state_directory
from filewatchd.config.schema import Daemon
from filewatchd.errors import ConfigError


@pytest.mark.parametrize("rules", ["verson: 1\n", "version: 1\ncontrol: {}\n", "rules: [\n"])
def test_a_mistake_in_a_rule_file_hides_no_daemon(rules: str, tmp_path: Path) -> None:
    main = tmp_path / "filewatchd.yaml"
    main.write_text("version: 1\ndaemon:\nrule_files: [rules.yaml]\n")
    (tmp_path / "rules.yaml").write_text(rules)
    assert state_directory(str(main), {}) == Daemon().state_dir
    assert runtime_directory(str(main), {}) == Daemon().runtime_dir


def test_a_main_file_that_may_say_otherwise_is_told(tmp_path: Path) -> None:
    main = tmp_path / "filewatchd.yaml"
    main.write_text("version: 1\ndeamon: {runtime_dir: x}\n")
    with pytest.raises(ConfigError, match="unknown key 'deamon'"):
        runtime_directory(str(main), {})
