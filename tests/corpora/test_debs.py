from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora.debs import package_files
from m2asr.errors import UserError
from tests.corpora import packages


def test_packages_are_read_without_dpkg(tmp_path: Path) -> None:
    path = tmp_path / "one.deb"
    path.write_bytes(packages.deb({"usr/a": b"1", "usr/b": b"22"}, {"usr/c": "a"}))
    assert list(package_files(path, lambda name: True)) == [("usr/a", b"1"), ("usr/b", b"22")]
    assert list(package_files(path, lambda name: name == "usr/b")) == [("usr/b", b"22")]
    deb = path.read_bytes()
    for broken, problem in ((deb[:-40], "ended|end"), (deb[:100], "no data.tar.xz"), (b"PK" + deb, "does not begin as an ar archive")):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=f"one.deb: not a complete Debian package .*({problem})"):
            list(package_files(path, lambda name: True))
    with pytest.raises(UserError, match="not found; fetch it"):
        list(package_files(tmp_path / "no.deb", lambda name: True))
