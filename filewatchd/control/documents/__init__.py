"""The documents that the control socket answers with: their fields are stable, and told in docs/reference/api.md.

Every document has ``host`` and ``instance`` besides, so that those of many daemons can be kept in one place. A path
that isn't valid UTF-8 has U+FFFD in ``path`` and its bytes, as base64, in ``path_b64``. Times are RFC 3339 with
microseconds, durations seconds as numbers. Fields are added over time, none is taken away or changes its meaning.
"""

from __future__ import annotations

from filewatchd.control.documents.changes import ChangeLine, Missed
from filewatchd.control.documents.common import Bytes, Counts, Document, Numbers, PathTold, Problem, Time
from filewatchd.control.documents.explaining import Explained, Pending, Planned, Reason, Together, Verdict
from filewatchd.control.documents.jobs import (
    AttemptTold,
    Cancelled,
    ChangeTold,
    Delays,
    Dropped,
    Job,
    JobRow,
    Jobs,
    RawEventTold,
    Retried,
    StepTold,
)
from filewatchd.control.documents.status import (
    Doubt,
    Failing,
    Finding,
    Last,
    Notification,
    Pause,
    Process,
    Promise,
    Root,
    RuleInfo,
    Rules,
    RuleStatus,
    Status,
    Watch,
)
from filewatchd.control.documents.steering import (
    Differences,
    Ending,
    Examined,
    Flushed,
    Health,
    Level,
    Paused,
    Reloaded,
    Resumed,
    Triggered,
    ValueChanged,
)

__all__ = [
    "AttemptTold",
    "Bytes",
    "Cancelled",
    "ChangeLine",
    "ChangeTold",
    "Counts",
    "Delays",
    "Differences",
    "Document",
    "Doubt",
    "Dropped",
    "Ending",
    "Examined",
    "Explained",
    "Failing",
    "Finding",
    "Flushed",
    "Health",
    "Job",
    "JobRow",
    "Jobs",
    "Last",
    "Level",
    "Missed",
    "Notification",
    "Numbers",
    "PathTold",
    "Pause",
    "Paused",
    "Pending",
    "Planned",
    "Problem",
    "Process",
    "Promise",
    "RawEventTold",
    "Reason",
    "Reloaded",
    "Resumed",
    "Retried",
    "Root",
    "RuleInfo",
    "RuleStatus",
    "Rules",
    "Status",
    "StepTold",
    "Time",
    "Together",
    "Triggered",
    "ValueChanged",
    "Verdict",
    "Watch",
]
