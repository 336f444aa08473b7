"""The checksum index, `<state_dir>/index.db`: what every file of the rules with `checksum` held when it was last read.

Nouns
- *Root*: a rule's root, with a number. Everything else hangs on it.
- *Record*: what is known of one file: its identity, attributes, digest with its algorithm, when it was last read whole.
  The *row* of a path is the record that is accepted.
- *Change*: that a path's file was found otherwise than its row: a verdict, the record before and after, and a state:
  `accepted` by itself, `open` (a finding: the row stays pinned), `pending` (it waits for approval), `approved`,
  `rejected`, `cleared` (the disk agrees with the row again). Each keeps who decided it, and when.
- *Version*: a record that a path had before.
- *Run*: a build, verify or scrub: how far it is (its cursor), so that it goes on there.

Who writes: the daemon alone, with `Index` (`writing`, `editing`), in pool threads, one at a time. Who reads: anybody
who may read the file, with `Reader` (`reading`), at any time, whether a daemon runs or not; a reader holds up
nobody.

    with Reader(path) as reader:
        reader.roots()                           # [Root(id, rule, root, ...)]
        reader.row(root.id, "bin/tool")          # Record | None
        for path, record in reader.rows(root.id, below="bin"): ...   # in the order of directories, then names
        reader.find(digest)                      # [(Root, path, Record)]
        reader.duplicates()                      # groups of the same
        reader.versions(root.id, "bin/tool")     # newest first
        reader.changes(states=("open", "pending"), since_ns=...)     # [Change]
        reader.runs(rule), reader.summary(root.id)

    index.decide(change_ids, "approved", uid=1000, now_ns=..., comment="")   # or "rejected"; returns those decided
"""
