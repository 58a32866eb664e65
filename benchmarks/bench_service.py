"""How fast the service answers short recordings, alone, in a crowd, and beside an hour of audio.

::

    AIMASS_HOME=... python benchmarks/bench_service.py --out service.json

The server runs in a second process on the loopback interface, with the models ``digits`` and
``whisper-base`` loaded from AIMASS_HOME. Clients are threads of this process with one kept
connection each; they take their share of the machine, as they would not in earnest.

single     one client, one request after the other, on an idle server
thousand   1,000 requests from 16 clients without pause: failures, throughput, and the memory of
           the server after the first 100 and after all
hour       one client, 16 clients at a third of the idle server's throughput (open loop: latency
           counts from when a request was due, not from when it was sent), and 16 clients without
           pause, first idle, then while whisper-base transcribes one hour, then idle again

Every figure of ``hour`` is taken ``--rounds`` times; its ratio is to the p95 of the single client
on the idle server, before and after, in the same round, so that a machine that changes pace between
rounds does not change it. The issue asks for no failure, memory flat after the first 100, and a p95
of short recordings beside the hour of at most 3 times the single client's.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SAMPLES = Path(__file__).parents[1] / "samples"
PATH = "/v1/audio/transcriptions"
COMMAND = "from aimass.cli.main import run; run()"
ARGUMENTS = ("serve", "--port", "0", "--preload", "digits", "--preload", "whisper-base")
CLIENTS = 16
PATIENCE = 600.0


@dataclass
class Server:
    """A server under measurement."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log: list[str] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def get(self, path: str) -> tuple[int, str]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, label: str = "") -> float:
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith(name) and label in x)

    def memory_mb(self) -> float:
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return round(int(subprocess.check_output(command, text=True)) / 1024, 1)


@contextmanager
def serving(python: str) -> Iterator[Server]:
    """The server, from its start until it has loaded its models to its end."""
    process = subprocess.Popen(
        [python, "-c", COMMAND, *ARGUMENTS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    try:
        assert process.stderr is not None
        match = None
        for line in process.stderr:
            log.append(line)
            if match := re.search(r"listening on http://(\S+):(\d+)", line):
                break
        if match is None:
            sys.exit("the server did not start:\n" + "".join(log))
        threading.Thread(target=log.extend, args=(process.stderr,), daemon=True).start()
        server = Server(process, match[1], int(match[2]), log)
        deadline = time.monotonic() + PATIENCE
        while server.get("/readyz")[0] != 200:
            if time.monotonic() > deadline:
                sys.exit("the server did not become ready")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@dataclass(frozen=True)
class Body:
    """A request, put together beforehand."""

    content: bytes
    kind: str


def body(sound: bytes, model: str) -> Body:
    mark = uuid.uuid4().hex
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return Body(
        head.encode() + sound + f"\r\n--{mark}--\r\n".encode(),
        f"multipart/form-data; boundary={mark}",
    )


def digits() -> list[Body]:
    return [body(p.read_bytes(), "digits") for p in sorted(SAMPLES.glob("digits/audio/*.flac"))]


def hour() -> bytes:
    """The inaugural address with pauses, over and over, as FLAC."""
    speech, rate = soundfile.read(SAMPLES / "jfk.wav", dtype="int16")
    pause = np.random.default_rng(0).normal(0, 3, rate).astype(np.int16)
    sound = np.resize(np.concatenate([speech, pause]), 3600 * rate)
    out = io.BytesIO()
    soundfile.write(out, sound, rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()


class Tally:
    """Latencies and failures of many threads."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self.began = time.perf_counter()
        self.lasted = 0.0

    def send(self, connection: http.client.HTTPConnection, sent: Body, due: float) -> None:
        try:
            connection.request("POST", PATH, sent.content, {"Content-Type": sent.kind})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                self.failures.append(f"{answer.status} {content[:200]!r}")
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
            connection.close()
        self.seconds.append(time.perf_counter() - due)

    def report(self) -> dict[str, Any]:
        found = sorted(self.seconds)
        return {
            "requests": len(found),
            "failures": len(self.failures),
            "first_failures": self.failures[:3],
            "p50_ms": round(1000 * statistics.median(found), 2),
            "p95_ms": round(1000 * found[min(len(found) - 1, int(0.95 * len(found)))], 2),
            "max_ms": round(1000 * found[-1], 2),
            "per_second": round(len(found) / self.lasted, 1),
        }


def crowd(
    server: Server,
    bodies: list[Body],
    clients: int,
    *,
    count: int | None = None,
    seconds: float = PATIENCE,
    rate: float | None = None,
) -> Tally:
    """Send `count` requests, or for some `seconds`, from `clients` connections.

    Args:
        rate: requests per second of all clients together, each due at its own time whatever
            happened to the one before; without pause when None.
    """
    tally, numbers = Tally(), itertools.count()
    start = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        connection = server.connect()
        rng = random.Random(number)
        start.wait()
        due = time.perf_counter()
        end = due + seconds
        if rate is not None:
            due += rng.random() * clients / rate
        while (index := next(numbers)) < (count or sys.maxsize) and time.perf_counter() < end:
            if rate is None:
                due = time.perf_counter()
            elif (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            tally.send(connection, bodies[index % len(bodies)], due)
            if rate is not None:
                due += clients / rate
        connection.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    tally.began = time.perf_counter()
    for thread in threads:
        thread.join()
    tally.lasted = time.perf_counter() - tally.began
    return tally


@contextmanager
def transcribing(server: Server, sound: bytes) -> Iterator[dict[str, float]]:
    """While whisper-base transcribes `sound`; its client hangs up at the end."""
    sent = body(sound, "whisper-base")
    before = server.metric("aimass_audio_seconds_total", "whisper-base")
    connection = server.connect()
    connection.request("POST", PATH, sent.content, {"Content-Type": sent.kind})

    def done() -> float:
        return server.metric("aimass_audio_seconds_total", "whisper-base") - before

    deadline = time.monotonic() + PATIENCE
    while done() < 60:  # three stretches: a long job, whatever the scheduler means by it
        if time.monotonic() > deadline:
            sys.exit("the hour did not begin:\n" + "".join(server.log))
        time.sleep(0.2)
    about = {"audio_s": done(), "wall_s": time.perf_counter()}
    yield about
    about["audio_s"] = round(done() - about["audio_s"], 1)
    about["wall_s"] = round(time.perf_counter() - about["wall_s"], 1)
    if about["audio_s"] == 0 and about["wall_s"] > 30:
        sys.exit("the hour did not go on: it starves")
    connection.close()
    deadline = time.monotonic() + 60
    while server.metric("aimass_requests_under_way ") > 0:
        if time.monotonic() > deadline:
            sys.exit("the server still works for a client that hung up")
        time.sleep(0.05)


def single(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    jfk = [body((SAMPLES / "jfk.wav").read_bytes(), "whisper-base")]
    return {
        "digits": crowd(server, digits(), 1, count=options.single).report(),
        "whisper-base": crowd(server, jfk, 1, count=options.whisper).report(),
    }


def thousand(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    first = crowd(server, digits(), CLIENTS, count=100)
    after_100 = server.memory_mb()
    rest = crowd(server, digits(), CLIENTS, count=options.thousand - 100)
    after_all = server.memory_mb()
    both = Tally()
    both.seconds = first.seconds + rest.seconds
    both.failures = first.failures + rest.failures
    both.lasted = first.lasted + rest.lasted
    memory = {
        "memory_after_100_mb": after_100,
        "memory_after_all_mb": after_all,
        "memory_growth_mb": round(after_all - after_100, 1),
    }
    return both.report() | memory


def beside_an_hour(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    sound, bodies = hour(), digits()
    rounds = []
    for _ in range(options.rounds):

        def measure(clients: int, rate: float | None = None) -> dict[str, Any]:
            return crowd(server, bodies, clients, seconds=options.seconds, rate=rate).report()

        def measure_all(rate: float) -> dict[str, Any]:
            return {
                "single": measure(1),
                "paced": measure(CLIENTS, rate),
                "closed": measure(CLIENTS),
            }

        capacity = measure(CLIENTS)["per_second"]
        rate = capacity * options.load

        before = measure_all(rate)
        with transcribing(server, sound) as about:
            during = measure_all(rate)
        after = measure_all(rate)
        idle = statistics.mean(x["single"]["p95_ms"] for x in (before, after))
        rounds.append(
            {
                "capacity_per_second": capacity,
                "offered_per_second": round(rate, 1),
                "hour": about,
                "idle_before": before,
                "beside_the_hour": during,
                "idle_after": after,
                "idle_single_p95_ms": round(idle, 2),
                "p95_ratio": {
                    "idle": {k: round(before[k]["p95_ms"] / idle, 2) for k in before},
                    "beside_the_hour": {k: round(during[k]["p95_ms"] / idle, 2) for k in during},
                },
            }
        )
        print(json.dumps({"hour": about, **rounds[-1]["p95_ratio"]}), file=sys.stderr)
    middle = {
        where: {
            kind: statistics.median(r["p95_ratio"][where][kind] for r in rounds)
            for kind in ("single", "paced", "closed")
        }
        for where in ("idle", "beside_the_hour")
    }
    return {"median_p95_ratio": middle, "rounds": rounds}


PARTS = {"single": single, "thousand": thousand, "hour": beside_an_hour}


def main() -> None:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all when none is given")
    parser.add_argument("--single", type=int, default=300, help="requests of the single client")
    parser.add_argument("--whisper", type=int, default=5, help="requests to whisper-base")
    parser.add_argument("--thousand", type=int, default=1000, help="requests of the crowd")
    parser.add_argument("--seconds", type=float, default=10, help="of each figure of the hour")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement beside the hour")
    parser.add_argument("--load", type=float, default=1 / 3, help="of capacity, when paced")
    parser.add_argument("--python", default=sys.executable, help="that runs the server")
    parser.add_argument("--out", type=Path, help="write the result here, beside printing it")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {
        "command": " ".join(["benchmarks/bench_service.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {platform.system()}",
        "load_average_before": os.getloadavg(),
    }
    with serving(options.python) as server:
        crowd(server, digits(), 4, count=50)  # the first requests of a process are slower
        for name in options.parts or PARTS:
            found[name] = PARTS[name](server, options)
    found["load_average_after"] = os.getloadavg()
    text = json.dumps(found, indent=2)
    print(text)
    if options.out is not None:
        with tempfile.NamedTemporaryFile("w", dir=options.out.parent, delete=False) as file:
            file.write(text + "\n")
        Path(file.name).replace(options.out)


if __name__ == "__main__":
    main()
