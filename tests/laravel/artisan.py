"""A real Laravel for tests: PHP processes that dispatch jobs, work queues and answer questions."""

import functools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

PHP = Path(__file__).with_name("php")
APP_KEY = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PATIENCE = 30.0  # seconds; only a broken promise ever takes as long
ASKS = """
exit(stream_resolve_include_path("Illuminate/autoload.php") && class_exists("Redis")
    && extension_loaded("pdo_sqlite") ? 0 : 1);
"""


@functools.cache
def there():
    """Whether there is a PHP with Laravel, phpredis and SQLite."""
    php = shutil.which("php")
    return php is not None and subprocess.run([php, "-r", ASKS], check=False).returncode == 0


def extensions():
    """The names of PHP's extensions here, such as `pdo_pgsql`."""
    return subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()


class Laravel:
    """A Laravel application: its settings are `env`, which each call may override by keywords."""

    def __init__(self, folder, redis_port, database):
        self.folder = Path(folder)
        self.database = Path(database)  # the SQLite file with jobs, failed_jobs, job_batches
        self.counted_file = self.folder / "counted"
        self.env = {
            "REDIS_PORT": redis_port,
            "DB_FILE": self.database,
            "COUNTED": self.counted_file,
            "APP_KEY": APP_KEY,
        }
        self._workers = []
        self._oracle = None

    def use(self, server):
        """Keep tables on this PostgreSQL or MariaDB, fresh ones; queues are there as well."""
        self.env |= {
            "QUEUE_CONNECTION": "database",
            "DB_CONNECTION": server.dialect,
            "DB_PORT": server.port,
            "DB_DATABASE": server.name,
            "DB_USERNAME": server.name,
        }
        self.dispatch("migrate")

    def dispatch(self, case, *args, **env):
        """Do one of dispatch.php's cases; what it said last, a dict."""
        return self.said("dispatch.php", case, *args, **env)[-1]

    def work(self, mode="stop-when-empty", queues="default", *options, code=0, **env):
        """Run Laravel's own queue:work until it ends, and list its events.

        `mode` is `once`, `stop-when-empty` or `daemon` (give it an end: `--max-jobs=1`); `code` the
        exit code that is expected, -9 where a job's timeout kills the worker.
        """
        return self.said("work.php", *_flags(mode, queues), *options, code=code, **env)

    def artisan(self, *args, code=0, **env):
        """Run one of Laravel's own commands, such as `queue:retry all`; what it printed."""
        return self._run("artisan.php", *args, code=code, env=env).stdout

    def said(self, script, *args, code=0, **env):
        """The JSON lines that a script of tests/laravel/php prints."""
        return _lines(self._run(script, *args, code=code, env=env).stdout)

    def start_worker(self, queues="default", *options, **env):
        """A queue:work daemon that works by now."""
        worker = Worker(
            self._command("work.php", *_flags("daemon", queues), *options),
            self._environment(env),
            self.folder / f"laravel{len(self._workers) + 1}",
        )
        self._workers.append(worker)
        worker.wait_for("started")
        return worker

    def counted(self):
        """What `Counted` jobs noted, here or there: a list of (id, "php" or …, pid, attempt)."""
        if not self.counted_file.exists():
            return []
        rows = [line.split() for line in self.counted_file.read_text().splitlines()]
        return [(int(id), side, int(pid), int(attempt)) for id, side, pid, attempt in rows]

    @property
    def ask(self):
        """The oracle: PHP that answers one question after the other, started when first asked."""
        if self._oracle is None:
            self._oracle = Oracle(self._command("oracle.php"), self._environment({}))
        return self._oracle

    def close(self):
        """End all that still runs."""
        for worker in self._workers:
            worker.kill()
        if self._oracle is not None:
            self._oracle.close()

    def _run(self, script, *args, code, env):
        done = subprocess.run(
            self._command(script, *args),
            env=self._environment(env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        told = f"{script} {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, told
        return done

    def _command(self, script, *args):
        return ["php", str(PHP / script), *map(str, args)]

    def _environment(self, env):
        return {**os.environ, **{name: str(value) for name, value in {**self.env, **env}.items()}}


class Worker:
    """A running queue:work."""

    def __init__(self, command, env, path):
        self._out = path.with_suffix(".out")
        self._err = path.with_suffix(".err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=err)
        self.pid = self.process.pid

    def events(self, name=None):
        """What it has said so far, or only the events of that name."""
        whole = self._out.read_text().rpartition("\n")[0]  # the last line may still be written
        return [each for each in _lines(whole) if name in (None, each["event"])]

    def wait_for(self, name, count=1, seconds=PATIENCE):
        """The events of that name, once there are so many."""
        deadline = time.monotonic() + seconds
        while len(found := self.events(name)) < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"no {count} × {name}: {self.events()} {self.log()}")
            time.sleep(0.01)
        return found

    def log(self):
        return self._err.read_text()

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it as a power cut would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self, seconds=PATIENCE):
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait(seconds)

    def wait(self, seconds=PATIENCE):
        """Its exit code, once it ends by itself."""
        return self.process.wait(seconds)


class Oracle:
    """PHP in a loop: `ask.unserialize(b"i:5;")` → 5. Its questions are oracle.php's functions.

    bytes travel as {"@bytes": hex}; see plainly.php for objects, dates and the like. PHP's own
    faults are raised as `PHPFault`.
    """

    def __init__(self, command, env):
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __getattr__(self, question):
        if question.startswith("_"):
            raise AttributeError(question)
        return functools.partial(self, question)

    def __call__(self, question, *args):
        line = json.dumps({"ask": question, "with": args}, default=_plain_bytes)
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        assert reply, f"PHP died of {question}{args}"
        answer = json.loads(reply, object_hook=_real_bytes)
        if "fault" in answer:
            raise PHPFault(answer["fault"])
        return answer["answer"]

    def close(self):
        with self._process:  # closes its pipes, by which it ends, and waits for it
            pass


class PHPFault(Exception):
    """What PHP raised, as `Class: message`."""


def _plain_bytes(value):
    if isinstance(value, bytes):
        return {"@bytes": value.hex()}
    raise TypeError(value)


def _real_bytes(value):
    return bytes.fromhex(value["@bytes"]) if "@bytes" in value else value


def _flags(mode, queues):
    once = {"once": ["--once"], "stop-when-empty": ["--stop-when-empty"], "daemon": []}[mode]
    return [*once, f"--queue={queues}", "--sleep=0.1"]


def _lines(text):
    return [json.loads(line) for line in text.splitlines()]
