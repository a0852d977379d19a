"""Embedded server without an application."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from learner_app.errors import EmbeddedServerError
from learner_app.operations.embedded import EmbeddedServer, embedded_binaries

pytestmark = pytest.mark.slow


@pytest.mark.stress
def test_server_starts_in_a_folder_that_only_root_can_enter(tmp_path: Path, monkeypatch):
    """As root, the server runs under another account, and no permission is changed."""
    shared = Path(tempfile.gettempdir()) / f"learner-shared-{os.getpid()}"
    monkeypatch.setattr("learner_app.operations.server_account.SHARED_FOLDER", shared)
    closed = tmp_path / "closed"
    site = closed / "site packages"
    package = embedded_binaries().parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, site / folder.name, symlinks=True)
    closed.chmod(0o700)
    old = os.umask(0o077)
    try:
        server = EmbeddedServer(closed / "data", site / package.name / "pginstall")
        server.start()
        assert server.is_running
        assert (closed / "data" / "PG_VERSION").exists()
        server.stop()
        assert not server.is_running
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(old)
        shutil.rmtree(shared, ignore_errors=True)


def test_folder_with_other_files_is_not_changed(open_folder: Path):
    data = open_folder / "postgres-18"
    data.mkdir()
    (data / "letter.txt").write_text("mine")
    with pytest.raises(EmbeddedServerError, match="not empty and not a PostgreSQL data folder"):
        EmbeddedServer(data).start()
    assert [path.name for path in data.iterdir()] == ["letter.txt"]


@pytest.mark.slow
def test_incomplete_data_folder_is_created_again(open_folder: Path):
    server = EmbeddedServer(open_folder / "postgres-18")
    partial = open_folder / "postgres-18.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18")
    server.start()
    assert server.is_running
    server.stop()


@pytest.mark.slow
def test_pid_file_with_the_pid_of_another_program_is_ignored(open_folder: Path):
    server = EmbeddedServer(open_folder / "postgres-18")
    server.start()
    place = server.data.resolve()
    left = (place / "postmaster.pid").read_text().splitlines()
    server.stop()
    left[0] = str(os.getpid())
    (place / "postmaster.pid").write_text("\n".join(left) + "\n")
    (place / "postmaster.pid").chmod(0o600)
    shutil.chown(place / "postmaster.pid", place.stat().st_uid, place.stat().st_gid)
    server.start()
    assert server.is_running
    server.stop()
