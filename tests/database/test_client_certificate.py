"""Client certificates against a PostgreSQL 15 that requires one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from learner_app.database.dsn import parse_url
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError, DatabaseRefused, SettingsError
from learner_app.settings import Settings
from learner_app.testing.servers import OwnServer, run_in_thread
from tests.debian import DEBIAN_15
from tests.environment import skip_outside_ci
from tests.ports import free_port
from tests.product import PROJECT

pytestmark = pytest.mark.slow

CANARY = "hunter2canary"
RULES = """
local all all trust
hostssl all keeper 127.0.0.1/32 cert
hostssl all paired 127.0.0.1/32 scram-sha-256 clientcert=verify-full
"""


@dataclass
class CertificateServer:
    """Server whose roles need a certificate, and ``paired`` also a password."""

    port: int
    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def file(self, name: str) -> Path:
        return self.folder / name

    def url(self, user: str = "keeper", options: str = "", password: str = "") -> str:
        credentials = f"{user}:{password}" if password else user
        return f"postgresql://{credentials}@localhost:{self.port}/postgres?{options}"

    def options(self, **files: str) -> str:
        chosen = {"sslrootcert": "authority.pem"} | files
        return "&".join(
            f"{name}={value if name == 'sslpassword' else self.file(value)}"
            for name, value in chosen.items()
        )


def write_identity(authority: trustme.CA, folder: Path, name: str) -> None:
    """Write certificate, key, encrypted key and both in one file for a user of that name."""
    issued = authority.issue_cert(f"{name}.example", common_name=name)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    encryption = BestAvailableEncryption(CANARY.encode())
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    for suffix, content in (
        ("pem", chain),
        ("key", plain),
        ("encrypted.key", encrypted),
        ("combined.pem", plain + chain),
    ):
        path = folder / f"{name}.{suffix}"
        path.write_bytes(content)
        path.chmod(0o600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertificateServer]:
    if not (DEBIAN_15 / "bin" / "postgres").exists():
        skip_outside_ci("Debian's postgresql-15 is not installed")
    own = OwnServer(DEBIAN_15, autostart=False)
    folder = tmp_path_factory.mktemp("identities")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    for name in ("keeper", "paired", "other"):
        write_identity(authority, folder, name)
    (folder / "strange").mkdir()
    write_identity(stranger, folder / "strange", "keeper")
    (folder / "text.pem").write_text("no certificate")
    (folder / "text.pem").chmod(0o600)

    port = free_port()
    files = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.key", "ssl_ca_file": "ca.pem"}
    issued = authority.issue_cert("localhost")
    (own.folder / "server.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (own.folder / "server.key").write_bytes(issued.private_key_pem.bytes())
    (own.folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (own.folder / "hba.conf").write_text(RULES)
    account = own.server._account
    for name in files.values():
        (own.folder / name).chmod(0o600)
        shutil.chown(own.folder / name, account.uid, account.gid)
    own.server._options |= {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "hba_file": str(own.folder / "hba.conf"),
        "ssl": "on",
        **{name: str(own.folder / file) for name, file in files.items()},
    }
    own.start()
    run_in_thread(
        own._execute(f"CREATE ROLE keeper LOGIN; CREATE ROLE paired LOGIN PASSWORD '{CANARY}'")
    )
    yield CertificateServer(port, folder)
    own.stop()


async def user_of(engine: DatabaseEngine) -> tuple[str, str]:
    """Return role and distinguished name of the client certificate, as the server reports them."""
    connection = await engine.get_new_connection()
    try:
        return tuple(
            await connection.fetchrow(
                "SELECT current_user::text, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
        )
    finally:
        await connection.close()


def engine(url: str, **settings: object) -> DatabaseEngine:
    made = DatabaseEngine(url)
    made.settings = Settings(**settings)
    return made


@pytest.mark.parametrize(
    "files",
    [
        {"sslcert": "keeper.pem", "sslkey": "keeper.key"},
        {"sslcert": "keeper.pem", "sslkey": "keeper.encrypted.key", "sslpassword": CANARY},
        {"sslcert": "keeper.combined.pem"},
    ],
)
@pytest.mark.parametrize("mode", ["", "&sslmode=require", "&sslmode=verify-full"])
async def test_certificate_of_the_url_authenticates(
    server: CertificateServer, files: dict, mode: str
):
    made = engine(server.url(options=server.options(**files) + mode))
    user, name = await user_of(made)
    assert user == "keeper"
    assert "CN=keeper" in name
    assert CANARY not in f"{made.target!r} {made.target}"


@pytest.mark.parametrize("app_env", ["development", "production"])
async def test_certificate_of_the_settings_authenticates(server: CertificateServer, app_env: str):
    settings = {"app_env": app_env, "db_ssl_root_cert": server.authority}
    identity = {"db_ssl_cert": server.file("keeper.pem"), "db_ssl_key": server.file("keeper.key")}
    assert (await user_of(engine(server.url(), **settings, **identity)))[0] == "keeper"
    encrypted = {
        "db_ssl_cert": server.file("keeper.pem"),
        "db_ssl_key": server.file("keeper.encrypted.key"),
        "db_ssl_key_password": CANARY,
    }
    assert (await user_of(engine(server.url(), **settings, **encrypted)))[0] == "keeper"


async def test_certificate_is_sent_to_a_server_that_is_not_verified(server: CertificateServer):
    options = server.options(sslcert="keeper.pem", sslkey="keeper.key") + "&sslmode=require"
    made = engine(server.url(options=options), db_ssl_verify=False)
    assert (await user_of(made))[0] == "keeper"


async def test_certificate_of_the_url_takes_precedence(server: CertificateServer):
    made = engine(
        server.url(options=server.options(sslcert="keeper.pem", sslkey="keeper.key")),
        db_ssl_cert=server.file("other.pem"),
        db_ssl_key=server.file("other.key"),
    )
    assert (await user_of(made))[0] == "keeper"


async def test_certificate_and_password_together(server: CertificateServer):
    options = server.options(sslcert="paired.pem", sslkey="paired.key")
    assert (await user_of(engine(server.url("paired", options, CANARY))))[0] == "paired"
    with pytest.raises(DatabaseRefused, match="28P01"):
        await user_of(engine(server.url("paired", options, "wrong")))


async def test_missing_certificate_and_that_of_another_user_are_refused(server: CertificateServer):
    for files in ({}, {"sslcert": "other.pem", "sslkey": "other.key"}):
        with pytest.raises(DatabaseRefused, match="28000") as caught:
            await user_of(engine(server.url(options=server.options(**files))))
        assert "\n" not in str(caught.value)


async def test_certificate_of_an_unknown_authority_is_one_line(server: CertificateServer):
    options = server.options(sslcert="strange/keeper.pem", sslkey="strange/keeper.key")
    with pytest.raises(DatabaseError) as caught:
        await user_of(engine(server.url(options=options)))
    assert "\n" not in str(caught.value)


def refusal(url: str, **settings: object) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_url("DATABASE_URL", url).tls.ssl_argument(Settings(**settings))
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


WRONG_FILES = [
    ({"sslcert": "none.pem"}, "sslcert: cannot read the file (No such file or directory)"),
    ({"sslcert": "strange"}, "sslcert: cannot read the file (Is a directory)"),
    (
        {"sslcert": "text.pem", "sslkey": "keeper.key"},
        "sslcert: the file contains no PEM certificate",
    ),
    (
        {"sslcert": "keeper.key", "sslkey": "keeper.key"},
        "sslcert: the file contains no PEM certificate",
    ),
    (
        {"sslcert": "keeper.pem", "sslkey": "none.key"},
        "sslkey: cannot read the file (No such file or directory)",
    ),
    ({"sslcert": "keeper.pem", "sslkey": "other.key"}, "sslkey is not the key of"),
    ({"sslcert": "keeper.pem", "sslkey": "text.pem"}, "sslkey, is not a valid PEM file"),
    ({"sslcert": "keeper.pem"}, "sslkey is not set"),
    (
        {"sslcert": "keeper.pem", "sslkey": "keeper.encrypted.key"},
        "sslkey: the key is encrypted and DATABASE_URL, sslpassword is not set",
    ),
    (
        {"sslcert": "keeper.pem", "sslkey": "keeper.encrypted.key", "sslpassword": "wrong"},
        "sslpassword is wrong",
    ),
    ({"sslkey": "keeper.key"}, "sslkey is set without DATABASE_URL, sslcert"),
    ({"sslpassword": CANARY}, "sslpassword is set without DATABASE_URL, sslcert"),
]


@pytest.mark.parametrize(("files", "message"), WRONG_FILES)
def test_unusable_file_is_reported_by_its_option(
    server: CertificateServer, files: dict, message: str
):
    assert message in refusal(server.url(options=server.options(**files)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"db_ssl_cert": "none.pem"}, "DB_SSL_CERT: cannot read the file"),
        ({"db_ssl_cert": "keeper.pem", "db_ssl_key": "none.key"}, "DB_SSL_KEY: cannot read"),
        ({"db_ssl_cert": "keeper.pem", "db_ssl_key": "other.key"}, "DB_SSL_KEY is not the key of"),
        ({"db_ssl_key": "keeper.key"}, "DB_SSL_KEY is set without DB_SSL_CERT"),
        (
            {"db_ssl_cert": "keeper.pem", "db_ssl_key": "keeper.encrypted.key"},
            "DB_SSL_KEY: the key is encrypted and DB_SSL_KEY_PASSWORD is not set",
        ),
    ],
)
def test_unusable_file_is_reported_by_its_setting(
    server: CertificateServer, names: dict, message: str
):
    settings = {name: server.file(file) for name, file in names.items()}
    assert message in refusal(server.url(options="sslmode=require"), **settings)


@pytest.mark.parametrize("option", ["sslmode=disable", "sslmode=allow", "sslmode=prefer"])
def test_certificate_with_optional_encryption_is_refused(server: CertificateServer, option: str):
    files = server.options(sslcert="keeper.pem", sslkey="keeper.key")
    message = refusal(server.url(options=f"{files}&{option}"))
    assert "sslcert is set and sslmode allows an unencrypted connection" in message
    assert "DB_SSL allows" in refusal(server.url(options=files), db_ssl=False)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_key_that_other_users_can_access_is_refused(
    server: CertificateServer, tmp_path: Path, mode: int
):
    key = shutil.copy(server.file("keeper.key"), tmp_path / "key")
    key.chmod(mode)
    options = f"sslcert={server.file('keeper.pem')}&sslkey={key}"
    assert "sslkey: other users can access the private key" in refusal(server.url(options=options))


def test_key_of_another_owner_is_refused_to_the_group(server: CertificateServer, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to root or away")
    key = shutil.copy(server.file("keeper.key"), tmp_path / "key")
    key.chmod(0o640)
    options = f"sslcert={server.file('keeper.pem')}&sslkey={key}"
    parse_url("X", server.url(options=options)).tls.ssl_argument(Settings())
    shutil.chown(key, 65534)
    assert "other users can access" in refusal(server.url(options=options))


def test_encrypted_key_does_not_prompt_for_a_password(server: CertificateServer):
    """OpenSSL would wait for a password on the terminal, and a service would hang."""
    files = server.options(sslcert="keeper.pem", sslkey="keeper.encrypted.key")
    done = subprocess.run(
        [Path(sys.executable).with_name("learner"), "status"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": server.url(options=files)},
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("learner: DATABASE_URL, sslkey: the key is encrypted")
    assert done.stderr.count("\n") == 1
