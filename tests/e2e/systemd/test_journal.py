"""The journal can be asked by rule, job, path and outcome."""

from __future__ import annotations

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service


def test_entries_are_found_by_rule_job_path_and_outcome(service: Service) -> None:
    machine = service.machine
    fails = "exec: {command: [sh, -c, 'echo no good >&2; exit 1']}"
    service.configure(service.rule("good"), service.rule("bad", actions=fails, retry={"attempts": 1}))
    service.start()
    path = service.touch("file")
    eventually(lambda: machine.journal("FILEWATCHD_RULE=bad", "FILEWATCHD_OUTCOME=failed"), "the bad rule's job fails")
    (end,) = eventually(
        lambda: machine.journal("FILEWATCHD_RULE=good", "FILEWATCHD_OUTCOME=ok"), "the good one is done"
    )
    assert end["FILEWATCHD_PATH"] == path
    job = machine.journal(f"FILEWATCHD_JOB={end['FILEWATCHD_JOB']}")
    assert {entry["FILEWATCHD_RULE"] for entry in job} == {"good"}
    assert {entry["FILEWATCHD_RULE"] for entry in machine.journal(f"FILEWATCHD_PATH={path}")} == {"good", "bad"}
    failed = machine.journal("FILEWATCHD_RULE=bad", "FILEWATCHD_OUTCOME=failed", f"FILEWATCHD_PATH={path}")
    assert {entry["PRIORITY"] for entry in failed} >= {"4"}
    assert {entry["_SYSTEMD_UNIT"] for entry in failed} == {service.unit}
    assert any("no good" in entry["MESSAGE"] for entry in machine.journal("FILEWATCHD_RULE=bad"))


def test_a_name_that_is_no_text_is_kept_as_its_bytes(service: Service) -> None:
    service.configure()
    service.start()
    path = service.touch("caf\udce9")
    entries = eventually(lambda: service.machine.journal("FILEWATCHD_OUTCOME=ok"), "its job is done")
    assert bytes(entries[0]["FILEWATCHD_PATH"]) == path.encode(errors="surrogateescape")
