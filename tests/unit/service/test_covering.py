"""Which root covers a path, by its name or by its real one."""

from __future__ import annotations

import pytest

from filewatchd.service.covering import Covered, away, covered, member_of


@pytest.mark.parametrize(
    ("pattern", "path", "member"),
    [
        ("/srv/*/in", "/srv/a/in/x.csv", "/srv/a/in"),
        ("/srv/*/in", "/srv/a/in", "/srv/a/in"),
        ("/srv/*/in", "/srv/a", None),
        ("/srv/*/in", "/srv/a/b/in/x", None),
        ("/srv/*/in", "/srv/.hidden/in/x", None),
        ("/srv/.*/in", "/srv/.hidden/in/x", "/srv/.hidden/in"),
        ("/srv/[ab]*.log", "/srv/b1.log", "/srv/b1.log"),
    ],
)
def test_the_member_of_a_glob(pattern: str, path: str, member: str | None) -> None:
    assert member_of(pattern, path) == member


def test_the_innermost_root_covers() -> None:
    roots = ["/srv", "/srv/in", "/srv/inner"]
    assert covered(roots, {}, "/srv/in/a", "/srv/in/a") == Covered("/srv/in", 1, "a")
    assert covered(roots, {}, "/srv/inn/a", "/srv/inn/a") == Covered("/srv", 0, "inn/a")
    assert covered(["/"], {}, "/a", "/a") == Covered("/", 0, "a")
    assert covered(["/srv/one.conf"], {}, "/srv/one.conf", "/srv/one.conf") == Covered("/srv/one.conf", 0, "")


def test_a_path_by_its_real_name_is_its_roots() -> None:
    real = {"/www": "/data/www", "/srv/a": "/srv/a", "/gone": ""}
    roots = ["/srv/*", "/www", "/gone"]
    assert covered(roots, real, "/data/www/x", "/data/www/x") == Covered("/www", 1, "x", "/data/www")
    assert covered(roots, real, "/link/x", "/srv/a/x") == Covered("/srv/a", 0, "x", "/srv/a")
    assert covered(["/off"], {}, "/link/x", "/off/x") == Covered("/off", 0, "x", "/off"), "of a disabled rule"
    assert covered(roots, real, "/elsewhere/x", "/elsewhere/x") is None


def test_how_far_away_a_path_is() -> None:
    assert away(["/srv/in"], "/srv/out/a") == (0, "it isn't below its root /srv/in")
    roots = ["/var/a", "/srv/in", "/x"]
    assert away(roots, "/srv/out/a") == (1, "it isn't below any of its 3 roots; the nearest is /srv/in")
    assert away(roots, "/srv") == (1, "it is above the root /srv/in")
