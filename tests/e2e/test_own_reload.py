"""The daemon's own configuration: reloaded over the socket, compared between generations, and watched as own files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control.api import RequestError
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, gate, lines, quiet, rule, shell, tell, until

RELOADS = {"shutdown_timeout": "20s", "reload_on_change": True}


def status(daemon: Daemon) -> dict[str, Any]:
    return ask(daemon, "status")


# ---- over the socket


def test_a_reload_answers_when_the_new_generation_is_in_force(daemon: Daemon) -> None:
    configure(daemon, daemon.rule("same"), daemon.rule("other"), daemon.rule("gone"))
    daemon.start()
    fresh = daemon.rule("fresh", include=["*.new"])
    configure(daemon, daemon.rule("same"), daemon.rule("other", settle="10ms"), fresh)
    found = ask(daemon, "reload")
    assert found == {
        "generation": 2,
        "added": ["fresh"],
        "removed": ["gone"],
        "changed": ["other"],
        "unchanged": ["same"],
        "warnings": [],
        "until_restart": [],
    }
    assert list(status(daemon)["rules"]) == ["same", "other", "fresh"]
    again = ask(daemon, "reload")
    assert (again["generation"], again["unchanged"]) == (2, ["same", "other", "fresh"])
    daemon.says("the configuration says what it said before, generation 2 goes on")


def test_unchanged_rules_keep_windows_and_jobs_and_removed_ones_drain(daemon: Daemon) -> None:
    out, doors = daemon.directory / "out", {name: gate(daemon, name) for name in ("kept", "removed")}
    script = 'echo "begin $1" >> "$2"; read line < "$3"; echo "end $1" >> "$2"'
    kept, removed = (
        rule(name, shell(script, name, str(out), str(door)), roots=[str(daemon.root)], include=["*.slow"])
        for name, door in doors.items()
    )
    waiting = daemon.rule("waiting", settle="1h", max_wait="1h", exclude=["*.slow"])
    configure(daemon, kept, removed, waiting)
    daemon.start()
    (daemon.root / "a.slow").write_text("x")
    (daemon.root / "b").write_text("x")
    eventually(lambda: sorted(lines(out)) == ["begin kept", "begin removed"], "both jobs began", 20)
    until(daemon, "waiting", dirty=1)
    configure(daemon, kept, waiting)
    assert ask(daemon, "reload")["removed"] == ["removed"]
    rules = status(daemon)["rules"]
    assert (rules["kept"]["running"], rules["waiting"]["dirty"]) == (1, 1)
    assert "removed" not in rules
    for name, door in doors.items():
        door.write_text("go\n")
        eventually(lambda name=name: f"end {name}" in lines(out), f"the job of {name} ends", 20)  # type: ignore[misc]
    quiet(daemon, "kept")
    assert len(lines(out)) == 4


def test_a_bad_file_is_refused_with_every_mistake(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    sound = daemon.config.read_text()
    daemon.config.write_text(sound.replace("roots:", "root:").replace("actions:", "action:"))
    with pytest.raises(RequestError, match="mistakes; generation 1 goes on") as error:
        ask(daemon, "reload")
    assert error.value.status == 422
    mistakes = error.value.more["mistakes"]
    named = [(each["file"], each["line"], each["column"]) for each in mistakes if "did you mean" in each["hint"]]
    assert named == [(str(daemon.config), 6, 5), (str(daemon.config), 7, 5)]
    assert all(set(each) == {"file", "line", "column", "message", "hint"} for each in mistakes)
    assert "unknown key 'root'" in status(daemon)["config_error"]
    with pytest.raises(RequestError, match="nothing to compare with"):
        ask(daemon, "diff")
    daemon.config.write_text(sound)
    assert ask(daemon, "reload")["generation"] == 1
    assert status(daemon)["config_error"] is None
    (daemon.root / "a").write_text("x")
    tell(daemon, ("created", "a"))


def test_generations_are_compared_key_by_key(daemon: Daemon) -> None:
    secrets = [shell("exit 0", "{name}", env={"TOKEN": f"hunter{number}"}) for number in (2, 3)]
    configure(daemon, daemon.rule(actions=secrets[0]), daemon.rule("gone"))
    daemon.start()
    changed = daemon.rule(actions=secrets[1], settle="3s")
    configure(daemon, changed, daemon.rule("fresh"), logging={"level": "debug"})
    found = ask(daemon, "diff")
    assert (found["from_generation"], found["to_generation"]) == (1, None)
    assert (found["added"], found["removed"], found["changed"]) == (["fresh"], ["gone"], ["recorded"])
    values = {each["key"]: each for each in found["values"]}
    settle = values["rules.recorded.settle"]
    assert (settle["old"], settle["new"], settle["origin"]) == ("50ms", "3s", f"{daemon.config}:8")
    assert values["logging.level"]["new"] == "debug"
    assert values["rules.gone.roots"]["new"] is None
    assert values["rules.fresh.roots"]["old"] is None
    assert "hunter" not in json.dumps(found)
    ask(daemon, "reload")
    assert ask(daemon, "diff")["values"] == []
    assert ask(daemon, "diff", from_generation=1, to_generation=2)["values"] == found["values"]
    back = ask(daemon, "diff", from_generation=2, to_generation=1)
    assert (back["added"], back["removed"]) == (["gone"], ["fresh"])
    with pytest.raises(RequestError, match="generation 9 isn't remembered; those are: 1, 2") as error:
        ask(daemon, "diff", from_generation=9)
    assert error.value.status == 404


# ---- own files


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed_over(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.tmp")
    new.write_text(text)
    new.replace(path)


def moved_away_and_written(path: Path, text: str) -> None:
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text)


@pytest.mark.parametrize("save", [in_place, renamed_over, moved_away_and_written])
def test_a_saved_file_is_reloaded_however_editors_save_it(daemon: Daemon, save: Callable[[Path, str], None]) -> None:
    configure(daemon, daemon.rule(exclude=["*.a"]), daemon=RELOADS)
    daemon.start()
    before = daemon.config.read_text()
    for number, text in enumerate((before.replace("*.a", "*.b"), before.replace("*.a", "*.c")), 2):
        save(daemon.config, text)
        eventually(lambda number=number: status(daemon)["generation"] == number, "it is reloaded", 20)  # type: ignore[misc]
    (daemon.root / "x.a").write_text("x")
    tell(daemon, ("created", "x.a"))


def test_a_flipped_link_is_followed(daemon: Daemon) -> None:
    """As Kubernetes does it: the file leads through `..data`, which is replaced."""
    configure(daemon, daemon.rule(exclude=["*.a"]), daemon=RELOADS)
    text = daemon.config.read_text()
    for name, pattern in (("one", "*.a"), ("two", "*.b")):
        (daemon.directory / name).mkdir()
        (daemon.directory / name / daemon.config.name).write_text(text.replace("*.a", pattern))
    data = daemon.directory / "..data"
    data.symlink_to("one")
    daemon.config.unlink()
    daemon.config.symlink_to(f"..data/{daemon.config.name}")
    daemon.start()
    new = daemon.directory / "..data_tmp"
    new.symlink_to("two")
    os.replace(new, data)
    eventually(lambda: status(daemon)["generation"] == 2, "it is reloaded", 20)


def test_a_new_rule_file_is_found_and_one_that_goes_takes_its_rules_along(daemon: Daemon) -> None:
    rules = daemon.directory / "rules.d"
    rules.mkdir()
    configure(daemon, daemon.rule(), daemon=RELOADS, rule_files=["rules.d/*.yaml"])  # type: ignore[arg-type]
    daemon.start()
    (rules / "more.yaml").write_text("rules:\n" + daemon.rule("more") + "\n")
    eventually(lambda: "more" in status(daemon)["rules"], "its rule is there", 20)
    (rules / "more.yaml").unlink()
    eventually(lambda: "more" not in status(daemon)["rules"], "its rule is gone", 20)


def test_a_broken_file_leaves_the_old_generation_and_is_told_of_once(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(exclude=["*.a"]), daemon=RELOADS)
    daemon.start()
    sound = daemon.config.read_text()
    broken = sound.replace("exclude", "exclud")
    daemon.config.write_text(broken)
    eventually(lambda: "exclud" in str(status(daemon)["config_error"]), "status has the mistake", 20)
    renamed_over(daemon.config, broken)
    os.utime(daemon.config)
    other = sound.replace("settle", "setle")
    daemon.config.write_text(other)
    eventually(lambda: "setle" in str(status(daemon)["config_error"]), "and the next one", 20)
    assert daemon.log().count("unknown key 'exclud'") == 1
    daemon.config.write_text(sound.replace("*.a", "*.b"))
    eventually(lambda: status(daemon)["generation"] == 2, "a good file is taken", 20)
    assert status(daemon)["config_error"] is None


def test_a_file_that_others_may_write_is_refused_until_they_may_not(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(exclude=["*.a"]), daemon=RELOADS)
    daemon.start()
    daemon.config.chmod(0o666)
    eventually(lambda: "others may write it" in str(status(daemon)["config_error"]), "it is refused", 20)
    daemon.config.chmod(0o644)
    eventually(lambda: status(daemon)["config_error"] is None, "it is taken", 20)
    assert status(daemon)["generation"] == 1


def test_without_the_key_nobody_looks(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(), daemon=RELOADS)
    daemon.start()
    configure(daemon, daemon.rule())
    eventually(lambda: status(daemon)["generation"] == 2, "it is switched off", 20)
    assert [root["path"] for root in status(daemon)["watch"]["roots"]] == [str(daemon.root)]
