"""Real servers for tests, each on a port and in a folder of its own: Redis, PostgreSQL, MariaDB.

They run in the foreground as our children, as another user where they refuse root, and end with us.
"""

import contextlib
import glob
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

PATIENCE = 30.0  # seconds; a server that is not there by then never will be


def free_port():
    """A port that nobody listens on now.

    Below the ports that systems give to clients: a client that calls while its server restarts
    could get the server's port for itself, and so keep the server out.
    """
    while True:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def find(*names):
    """The first of these programs that there is, where Debian hides servers or on the path."""
    for name in names:
        hidden = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        found = [*hidden[-1:], shutil.which(name), shutil.which(name, path="/usr/sbin")]
        for path in filter(None, found):
            return path
    return None


class Server:
    """A server program. Start it again after `stop` or `kill` and it has its port and folder."""

    soft = signal.SIGTERM  # asks it to end, clients or not
    user = None  # who runs it when we are root; None: we do

    def __init__(self):
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"liteq-{type(self).__name__.lower()}-"))
        self._process = None
        if self._other_user():
            user = pwd.getpwnam(self.user)
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def start(self):
        """Run it; returns when it answers."""
        assert not self.running()
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self.folder, stdout=log, stderr=log, **self._as_user()
            )
        self._wait(self._answers, "an answer")
        return self

    def running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self):
        """End it as its init script would."""
        self._end(self.soft)

    def kill(self):
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self):
        """Stop it as its init script would, and start it again."""
        self.stop()
        self.start()

    def remove(self):
        """Leave nothing of it behind."""
        self.stop()  # killed, PostgreSQL would leave children and shared memory
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def run(self, *command):
        """Run a program of the server's beside it, in its folder and as its user."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def _command(self):
        raise NotImplementedError

    def _answers(self):
        raise NotImplementedError

    def _other_user(self):
        return self.user is not None and os.geteuid() == 0

    def _as_user(self):
        return (
            {"user": self.user, "group": self.user, "extra_groups": []}
            if self._other_user()
            else {}
        )

    def _end(self, number):
        if self.running():
            self._process.send_signal(number)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)

    def _wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.running() or time.monotonic() > deadline:
                raise AssertionError(f"{type(self).__name__} gives no {what}: {self.log()}")
            time.sleep(0.01)


class Redis(Server):
    """A Redis or Valkey; keeps its data over a restart only when it appends."""

    def __init__(self, *, append=False, options=()):
        super().__init__()
        self._append = append
        self._options = options

    @staticmethod
    def there():
        return find("redis-server", "valkey-server") is not None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options):
        """A client of redis-py, for the caller to close."""
        return redis.Redis(port=self.port, **{"decode_responses": True, **options})

    def flush(self):
        """Delete all there is."""
        with self.client() as client:
            client.flushall()

    def _command(self):
        return [
            *_until_we_die(),
            find("redis-server", "valkey-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes" if self._append else "no"),
            *("--appendfsync", "always" if self._append else "no"),
            *self._options,
        ]

    def _answers(self):
        try:
            with self.client(retry=None) as client:
                return client.ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False


class Postgres(Server):
    """A PostgreSQL with a database `laravel` of the user `laravel`, who needs no password."""

    soft = signal.SIGINT  # "fast": ends sessions, SIGTERM would wait for them
    user = "postgres"  # Debian's package makes one
    dialect = "pgsql"
    name = "laravel"  # the database, and its user

    @staticmethod
    def there():
        return find("postgres") is not None and find("initdb") is not None

    def start(self):
        """Run it; returns when it answers."""
        data = self.folder / "data"
        fresh = not data.exists()
        if fresh:
            self.run(find("initdb"), "-A", "trust", "-U", self.name, "-N", "-D", str(data))
        super().start()
        if fresh:
            self.run(
                find("createdb"),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "laravel",
                self.name,
            )
        return self

    def connect(self, **options):
        """A psycopg connection, for the caller to close."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=self.name, dbname=self.name, **options
        )

    def _command(self):
        return [
            *_until_we_die(),
            find("postgres"),
            *("-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1"),
            *("-k", str(self.folder), "-F"),  # -F: no fsync, these data need no power cuts
        ]

    def _answers(self):
        ready = [find("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


class MariaDB(Server):
    """A MariaDB with a database `laravel` of the user `laravel`, who needs no password."""

    user = "mysql"  # Debian's package makes one
    dialect = "mysql"
    name = "laravel"  # the database, and its user

    @staticmethod
    def there():
        return find("mariadbd") is not None and find("mariadb-install-db") is not None

    def start(self):
        """Run it; returns when it answers."""
        data = self.folder / "data"
        if not data.exists():
            (self.folder / "init.sql").write_text(
                "CREATE DATABASE IF NOT EXISTS laravel CHARACTER SET utf8mb4;\n"
                "CREATE USER IF NOT EXISTS laravel@'%';\n"
                "GRANT ALL ON *.* TO laravel@'%';\n"
                "DROP USER IF EXISTS ''@'localhost', ''@'%';\n"
            )
            self.run(
                find("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={data}",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            )
        return super().start()

    def connect(self, **options):
        """A PyMySQL connection, for the caller to close."""
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=self.name, database=self.name, **options
        )

    def _command(self):
        return [
            *_until_we_die(),
            find("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        ]

    def _answers(self):
        import pymysql

        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True


def _until_we_die():
    """A prefix by which the system kills the server should we be killed (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


@contextlib.contextmanager
def running(server):
    """The server, started; removed at the end whatever happens."""
    try:
        yield server.start()
    finally:
        server.remove()
