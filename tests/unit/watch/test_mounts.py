"""Which mounts are to be seen, and what names the filesystems below a root."""

from __future__ import annotations

import pytest

from filewatchd.model import Region
from filewatchd.watch.filesystems import survey
from filewatchd.watch.mounts import MountTable

ROOT = "1 0 8:1 / / rw - zfs pool/root rw"


def table(*lines: str) -> MountTable:
    return MountTable("\n".join((ROOT, *lines)))


def line(number: int, parent: int, place: str, device: str = "", root: str = "/", kind: str = "zfs") -> str:
    return f"{number} {parent} {device or f'9:{number}'} {root} {place} rw shared:1 - {kind} pool/{number} rw,x"


def under(path: str, *lines: str) -> list[tuple[str, int]]:
    return [(mount.place, mount.number) for mount in table(*lines).under(path)]


def test_what_is_mounted_at_a_path_and_below_it() -> None:
    lines = line(2, 1, "/srv"), line(3, 2, "/srv/a\\040b"), line(4, 1, "/srv-too")
    assert under("/srv", *lines) == [("/srv", 2), ("/srv/a b", 3)]
    assert under("/srv/c", *lines) == [("/srv", 2)]
    assert under("/", *lines) == [("/", 1), ("/srv", 2), ("/srv-too", 4), ("/srv/a b", 3)]
    assert MountTable("").under("/srv") == ()


def test_a_later_mount_hides_what_is_below_it() -> None:
    below = line(2, 1, "/srv"), line(3, 2, "/srv/a/b"), line(4, 2, "/srv/a-b")
    assert under("/srv", *below, line(5, 2, "/srv/a")) == [("/srv", 2), ("/srv/a", 5), ("/srv/a-b", 4)]
    assert under("/srv", *below, line(5, 2, "/srv")) == [("/srv", 5)]
    assert under("/srv/a/b", *below, line(5, 2, "/srv")) == [("/srv", 5)]


def regions(path: str, *lines: str) -> list[Region]:
    return list(survey(path, table(*lines), "inotify").regions)


def test_a_filesystem_has_the_same_name_whatever_its_number() -> None:
    once = regions("/srv", line(2, 1, "/srv", "9:1"))
    again = regions("/srv", line(7, 1, "/srv", "9:5").replace("pool/7", "pool/2"))
    assert once == again == [Region("", "zfs pool/2")]


def test_a_path_bound_to_itself_is_as_if_it_were_not() -> None:
    plain = line(2, 1, "/srv", "9:1")
    itself = line(3, 2, "/srv/d", "9:1", root="/d")
    assert regions("/srv", plain, itself) == regions("/srv", plain)
    assert regions("/srv/d", plain, itself) == regions("/srv/d", plain)
    assert regions("/etc", line(2, 1, "/etc", "8:1", root="/etc").replace("pool/2", "pool/root")) == regions("/etc")


@pytest.mark.parametrize("source", ["/elsewhere", "/elsewhere//deleted"])
def test_a_bind_mount_is_told_from_what_is_beneath_it(source: str) -> None:
    bound = line(2, 1, "/srv/m", "8:1", root=source).replace("pool/2", "pool/root")
    assert regions("/srv", bound) == [Region("", "zfs pool/root"), Region("m", "zfs pool/root /elsewhere at /srv/m")]
    assert regions("/srv/m", bound) == [Region("", "zfs pool/root /elsewhere at /srv/m")]


@pytest.mark.parametrize("source", ["/srv/d", "/srv", "/"])
def test_a_root_shown_once_more_below_itself_is_not_entered(source: str) -> None:
    ground = survey("/srv", table(line(2, 1, "/srv/m", "8:1", root=source)), "poll")
    assert ground.aliases == {"m"}
    assert "/srv/m" in ground.blind


def test_two_views_of_one_directory_are_one_too_many() -> None:
    twice = [line(number, 1, place, "9:1", root="/d") for number, place in ((2, "/srv/a"), (3, "/srv/b"))]
    assert survey("/srv", table(*twice), "inotify").aliases == {"b"}
    apart = [line(number, 1, f"/srv/{number}", "9:1", root=f"/{number}") for number in (2, 3)]
    assert survey("/srv", table(*apart), "inotify").aliases == frozenset()


def test_what_the_kernel_does_not_tell_of_is_named_with_its_remedy() -> None:
    shared = table(line(2, 1, "/srv/n", kind="nfs4"), line(3, 1, "/srv/l"))
    blind = survey("/srv", shared, "inotify").blind
    assert list(blind) == ["/srv/n"]
    assert "other hosts write to nfs4 unseen" in blind["/srv/n"]
    assert "backend: poll" in blind["/srv/n"]
    assert survey("/srv", shared, "poll").blind == {}


def test_nfs_has_one_name_in_all_versions_and_tmpfs_one_for_all() -> None:
    names = [regions("/srv", line(2, 1, "/srv", kind=kind))[0].filesystem for kind in ("nfs", "nfs4")]
    assert names == ["nfs pool/2"] * 2
    assert regions("/srv", line(2, 1, "/srv", kind="tmpfs")) == regions("/srv", line(3, 1, "/srv", kind="tmpfs"))
