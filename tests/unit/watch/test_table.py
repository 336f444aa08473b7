"""Watch numbers and directories."""

from filewatchd.watch.table import WatchTable


def tree() -> WatchTable:
    table = WatchTable()
    table.put(1, 0, b"/srv")
    table.put(2, 1, b"a")
    table.put(3, 2, b"b")
    table.put(5000, 3, b"c")
    return table


def test_a_path_is_the_chain_of_names() -> None:
    assert tree().path(5000) == "/srv/a/b/c"


def test_the_filesystem_root_has_no_double_slash() -> None:
    table = WatchTable()
    table.put(1, 0, b"/")
    table.put(2, 1, b"etc")
    assert table.path(2) == "/etc"


def test_renaming_a_directory_renames_all_beneath() -> None:
    table = tree()
    assert table.path(5000) == "/srv/a/b/c"
    table.put(2, 1, b"z")
    assert table.path(5000) == "/srv/z/b/c"


def test_a_broken_chain_has_no_path() -> None:
    table = tree()
    table.drop(2)
    assert table.path(5000) is None


def test_pages_go_when_empty() -> None:
    table = tree()
    table.drop(5000)
    assert 5000 not in table
    assert table.count == 3
    assert len(table._pages) == 1


def test_what_lies_beneath() -> None:
    table = tree()
    table.put(7, 1, b"other")
    assert sorted(table.beneath({2})) == [2, 3, 5000]
    assert table.children_of({(1, b"a"), (1, b"missing")}) == [2]
    assert table.orphans({2}) == [3]


def test_a_census_counts_nested_trees_for_each() -> None:
    table = WatchTable()
    table.put(1, 0, b"/a")
    table.put(2, 1, b"b")
    table.put(3, 2, b"c")
    table.put(4, 0, b"/x")
    table.put(5, 1, b"c")
    assert table.census({"/a", "/a/b", "/x", "/nowhere"}) == {"/a": 4, "/a/b": 2, "/x": 1, "/nowhere": 0}


def test_the_latest_come_first_and_none_before_those_below_it() -> None:
    table = WatchTable()
    table.put(5, 0, b"/a")
    for watch, parent in ((1, 5), (2, 1), (3, 1), (4, 5)):
        table.put(watch, parent, b"%d" % watch)
    assert table.latest(9, lambda watch: watch != 5) == [4, 3, 2, 1]
    assert table.latest(2, lambda watch: watch != 5) == [4, 3]
    assert table.latest(9, lambda watch: watch != 3) == [4, 2], "what holds one that stays can't go"


def test_a_census_is_taken_anew_once_something_has_changed() -> None:
    table = WatchTable()
    table.put(1, 0, b"/a")
    table.put(2, 1, b"b")
    assert table.census(["/a"]) == {"/a": 2}
    table.put(3, 2, b"c")
    assert table.census(["/a"]) == {"/a": 3}
    table.put(3, 0, b"/x")
    assert table.census(["/a"]) == {"/a": 2}
    table.drop(2)
    assert table.census(["/a", "/x"]) == {"/a": 1, "/x": 1}
