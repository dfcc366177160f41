"""Code blocks of Markdown pages, and a place to run them in as a reader would.

A comment right before a block says what a reader would do with it:

    <!-- test: file=tasks.py -->    save it so (`add=tasks.py`: at the end of that file)
    <!-- test: continues -->        type it below the previous Python block
    <!-- test: worker -->           run it while `liteq worker --app tasks.py` works
    <!-- test: save=tasks.py -->    save it so, and do not run it
    <!-- test: listens -->          start it and go on; it does all there is before it is ended
    <!-- test: shows -->            what was just run, or listens, prints these lines
    <!-- test: redis -->            from here on there is a Redis where a reader would have his
    <!-- test: laravel -->          … and a Laravel in `shop`, with the job classes saved there
    <!-- test: fails -->            it is meant to end with an error
    <!-- test: skip: reason -->     nobody runs it, and why

Without one, a Python block is a script of its own, and each line of a bash block is a command;
`liteq worker` is seen to finish what is due, then ended by SIGTERM. Words may stand together:
`redis save=tasks.py`.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "laravel"))  # for the files of an application
import skeletons  # noqa: E402

SHOWN_ONLY = {"text", "toml", "ini", "dockerfile", "yaml", "json", "console"}
PATIENCE = 30.0  # seconds until something that ought to happen counts as never
REDIRECTED = """import socket

_ask = socket.getaddrinfo


def getaddrinfo(host, port, *args, **options):
    if host == "localhost" and str(port) == "6379":
        host, port = "127.0.0.1", {port}
    return _ask(host, port, *args, **options)


socket.getaddrinfo = getaddrinfo
"""
_FENCE = re.compile(
    r"(?:^<!-- test: (?P<how>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it is, what it says, how it is to be tested."""

    page: Path
    line: int
    heading: str
    language: str
    text: str
    how: str

    @property
    def where(self):
        return f"{self.page.name}:{self.line}"


def read(page):
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    headings = _headings(text)
    found = []
    for match in _FENCE.finditer(text):
        start = match.start("text")
        before = [title for place, title in headings if place < start]
        found.append(
            Block(
                page,
                text.count("\n", 0, start) + 1,
                before[-1] if before else "",
                match["language"],
                match["text"],
                match["how"] or "",
            )
        )
    assert text.count("```") == 2 * len(found), f"{page}: a fence is not closed or is indented"
    return found


def _headings(text):
    inside = [match.span("text") for match in _FENCE.finditer(text)]
    return [
        (match.start(), match[1].strip("` "))
        for match in _HEADING.finditer(text)
        if not any(start <= match.start() < end for start, end in inside)
    ]


class Place:
    """A working directory with nothing in it, and a shell without LiteQ settings."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("LITEQ_")
        }
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment["PYTHONIOENCODING"] = "utf-8"

    @property
    def database(self):
        return Path(self.directory, self.environment.get("LITEQ_DB", "liteq.db"))

    def use_redis(self, server):
        """From now on `localhost:6379` is this server, for each Python program that runs here."""
        self._redis = server
        folder = self.directory / ".redirected"
        self.write(".redirected/sitecustomize.py", REDIRECTED.format(port=server.port))
        self.environment["PYTHONPATH"] = str(folder)
        self.environment["PYTHONUNBUFFERED"] = "1"

    def use_laravel(self, server):
        """From now on there is a Laravel in the folder `shop`, on the same Redis."""
        env = "REDIS_HOST=localhost\nREDIS_PREFIX=laravel_database_\n"
        found = skeletons.files("12.28.1")
        artisan = f"<?php require {str(ROOT / 'tests' / 'docs' / 'artisan.php')!r};\n"
        found |= {".env": found[".env"] + env, "artisan": artisan}
        skeletons.written(self.directory / "shop", found)
        self.environment["REDIS_PORT"] = str(server.port)
        self.environment["APP_KEY"] = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

    def artisan(self, *command, status=0):
        """What one of Laravel's commands prints; `run FILE` runs a piece of PHP there."""
        return self.run(["php", "artisan", *command], folder="shop", status=status)

    def idle(self):
        """Whether who listens on the Redis here waits for jobs, and runs none."""
        with self._redis.client() as client:
            reserved = sum(client.zcard(key) for key in client.keys("*:reserved"))
            waiting = [each for each in client.client_list() if "b" in each["flags"]]
        return bool(waiting) and reserved == 0

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, command, *, status=0, folder=""):
        """What a command prints, once it has ended by itself with this exit status."""
        process = subprocess.run(
            command,
            cwd=self.directory / folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=2 * PATIENCE,
            check=False,
        )
        assert process.returncode == status, (
            f"{command} ended with {process.returncode}\n{process.stdout}"
        )
        return process.stdout

    def python(self, text, *, name="script.py", status=0):
        """What a script prints, once it has ended by itself."""
        self.write(name, text)
        return self.run([sys.executable, name], status=status)

    def rows(self, sql="SELECT * FROM tasks ORDER BY id", *values):
        """Rows of the database here; none while there is no database."""
        if not self.database.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError:  # created a moment ago, still without tables
                return []

    def due(self):
        """How many jobs are running, or are to run within the next seconds."""
        soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 5))
        [[count]] = self.rows(
            "SELECT count(*) FROM tasks WHERE status = 'running' "
            "OR (status = 'pending' AND (run_at IS NULL OR run_at <= ?))",
            soon,
        ) or [[0]]
        return count

    @contextlib.contextmanager
    def working(self, command):
        """While the body runs, so does this command; it must be alive then, and end by SIGTERM."""
        output = self.directory / "worker.log"
        with output.open("w", encoding="utf-8") as sink:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                until(lambda: self._at_work(process), f"{command} to start", output)
                yield process
                assert process.poll() is None, f"{command} ended early\n{output.read_text()}"
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0, f"{command}\n{output.read_text()}"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _at_work(self, process):
        assert process.poll() is None, (self.directory / "worker.log").read_text()
        return any(
            str(process.pid) in str(tuple(row)) for row in self.rows("SELECT * FROM workers")
        )

    @contextlib.contextmanager
    def running(self, command):
        """While the body runs, so does this command, with its output in the log; ended for sure."""
        with self.log.open("w", encoding="utf-8") as sink:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def work_off(self, command):
        """Let a worker do all that is due, then stop it. Its log."""
        with self.working(command):
            until(lambda: self.due() == 0, f"{command} to do all that is due", self.log)
        return self.log.read_text(encoding="utf-8")

    @property
    def log(self):
        return self.directory / "worker.log"

    def shell(self, line, *, status=0):
        """Run one command line of a bash block."""
        words = shlex.split(line, comments=True)
        if not words:
            return ""
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return ""
        if words[:2] == ["liteq", "worker"] and "--burst" not in words:
            return self.work_off(words)
        if words[:3] == ["php", "artisan", "queue:work"]:
            return self.artisan(*words[2:], "--stop-when-empty", status=status)
        return self.run(["bash", "-c", line], status=status)


def until(holds, what, log=None):
    """Wait for something; fail, showing the log, when it never comes."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        said = f"\n{log.read_text()}" if log is not None and log.exists() else ""
        assert time.monotonic() < deadline, f"waited in vain for {what}{said}"
        time.sleep(0.05)


class Reader:
    """Somebody who follows a page from its top to its end.

    `redis()` is asked for a server when the page comes to need one, `need` for PHP.
    """

    def __init__(self, directory, redis=None, need=None):
        self.place = Place(directory)
        self.session = ""
        self.said = ""  # by what was run last
        self._redis, self._need = redis, need
        self._server = None
        self._listener = None  # its command and process
        self._running = contextlib.ExitStack()  # ends it whatever happens

    def follow(self, page):
        """Do what each block of the page asks for; errors name the block."""
        with self._running:
            for block in read(page):
                try:
                    self.do(block)
                except AssertionError as exc:
                    raise AssertionError(f"{block.where}\n{exc}") from exc
            self._end_listener()

    def do(self, block):
        """Do what this block asks for."""
        how = block.how.split()
        if block.how.startswith("skip:") or (block.language in SHOWN_ONLY and "shows" not in how):
            return
        if "redis" in how or "laravel" in how:
            self._go_to_redis("laravel" in how)
        how = [word for word in how if word not in ("redis", "laravel")]
        act = {
            "python": self._python,
            "bash": self._bash,
            "sql": self._sql,
            "php": self._php,
            "text": self._shown,
        }
        assert block.language in act, f"nothing is known of language {block.language!r}"
        act[block.language](block, how)

    def _python(self, block, how):
        does, _, name = how[0].partition("=") if how else ("", "", "")
        if does == "file":
            self.said = self.place.python(block.text, name=name)
        elif does == "save":
            self.place.write(name, block.text)
        elif does == "add":
            path = self.place.directory / name
            text = path.read_text(encoding="utf-8") + "\n\n" + block.text
            self.said = self.place.python(text, name=name)
        else:
            self._script(block, how)

    def _script(self, block, how):
        self.session = self.session + "\n" + block.text if "continues" in how else block.text
        with self._background(how):
            self.said = self.place.python(self.session, status=1 if "fails" in how else 0)

    def _bash(self, block, how):
        lines = block.text.replace("\\\n", " ").splitlines()
        if "listens" in how:
            [line] = lines
            self._listen(shlex.split(line))
            return
        with self._background(how):
            said = [self.place.shell(line, status=1 if "fails" in how else 0) for line in lines]
        self.said = "".join(said)

    def _php(self, block, how):
        if how and how[0].startswith("save="):
            self.place.write(how[0].partition("=")[2], block.text)
            return
        self.place.write("shop/script.php", "<?php\n" + block.text)
        self.said = self.place.artisan("run", "script.php")

    def _shown(self, block, how):
        for line in block.text.splitlines():
            until(lambda: line in self._printed(), f"{line!r} to be shown", self.place.log)  # noqa: B023

    def _printed(self):
        log = self.place.log
        return self.said + (log.read_text(encoding="utf-8") if log.exists() else "")

    def _background(self, how):
        if "worker" not in how:
            return contextlib.nullcontext()
        return self.place.working(["liteq", "worker", "--app", "tasks.py"])

    def _go_to_redis(self, with_laravel):
        if self._server is None:
            self._server = self._redis()
            self.place.use_redis(self._server)
        if with_laravel:
            self._need(shutil.which("php"), "PHP with Laravel")
            self.place.use_laravel(self._server)

    def _listen(self, command):
        """Have this run beside all that follows, instead of what ran so before."""
        self._end_listener()
        self._listener = command, self._running.enter_context(self.place.running(command))

    def _end_listener(self):
        """Let it do all there is; then it must end by SIGTERM."""
        if self._listener is None:
            return
        (command, process), self._listener = self._listener, None
        log = self.place.log
        until(lambda: process.poll() is not None or self.place.idle(), f"{command} to be idle", log)
        assert process.poll() is None, f"{command} ended early\n{log.read_text()}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, f"{command}\n{log.read_text()}"

    def _sql(self, block, how):
        with contextlib.closing(sqlite3.connect(self.place.database, timeout=10)) as connection:
            connection.executescript(block.text)
