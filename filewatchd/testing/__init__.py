"""Fakes of the protocols, for the tests of actions of your own and of ours. Public: they change only with notice.

A test of an action reads like this::

    async def test_a_bad_row_is_rejected(tmp_path):
        ctx = FakeContext()
        action = my_package.open(my_package.Options(strict=True), ctx)
        job = FakeJob([changed(f"{tmp_path}/orders.csv")])
        assert (await action.run(job)).verdict is Verdict.REJECTED
        assert "row 7: no amount" in job.text
"""

from filewatchd.testing.action import Recorded, RecordingAction, RecordingOptions
from filewatchd.testing.backend import ScriptedBackend
from filewatchd.testing.clock import FakeClock, settle
from filewatchd.testing.context import FakeContext, FakePool, FakeTables, FakeWorker
from filewatchd.testing.faults import WRITES, FaultyFS
from filewatchd.testing.job import FakeJob, FakeSteps, changed
from filewatchd.testing.services import FakeServices
from filewatchd.testing.spawn import DONE, FakeSpawn, Scripted
from filewatchd.testing.timers import FakeTimers, next_time
from filewatchd.testing.waiting import eventually, wait_until

__all__ = [
    "DONE",
    "WRITES",
    "FakeClock",
    "FakeContext",
    "FakeJob",
    "FakePool",
    "FakeServices",
    "FakeSpawn",
    "FakeSteps",
    "FakeTables",
    "FakeTimers",
    "FakeWorker",
    "FaultyFS",
    "Recorded",
    "RecordingAction",
    "RecordingOptions",
    "Scripted",
    "ScriptedBackend",
    "changed",
    "eventually",
    "next_time",
    "settle",
    "wait_until",
]
