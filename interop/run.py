"""Runs clients that nobody here wrote against a real Hob, and counts what holds. See README.md.

python3 run.py HOB CACHE [clients|docs|api ...]: HOB is the binary, CACHE the folder that `make interop` filled.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODES = ("structured", "binary", "batch")
PATIENCE_S = 60
PLATFORM = """\
platform: interop
environments: [qa]
tenants: [uk]
services: ["*"]
public_url: "http://shop.test"
"""
SERVICE = """\
service: shop
kind: domain
package:
  include: ["service.yml"]
processes:
  worker:
    run: ["sleep", "1000000"]
topics:
  - {name: orders, kind: notify}
  - {name: pings, kind: stream}
"""


# What these clients do otherwise than the specification says; each must still be so, or the entry goes.
NO_PERCENT = "the SDK neither percent-encodes nor decodes header values (HTTP binding 1.0, 3.1.3.2)"
DEVIATIONS = {
    "node publishes 'notice about a deletion' as binary": NO_PERCENT,
    "node publishes 'extensions' as binary": NO_PERCENT,
    "node receives binary 'notice about a deletion'": NO_PERCENT,
    "node receives binary 'extensions'": NO_PERCENT,
    "node receives binary 'notice'": "the SDK reads no body as an empty text",
    "rust publishes 'notice about a deletion' as binary": NO_PERCENT,
    "rust receives binary 'notice about a deletion'": NO_PERCENT,
    "rust receives binary 'extensions'": NO_PERCENT,
}


class Count:
    def __init__(self):
        self.passed, self.failed, self.deviating = 0, 0, 0

    def check(self, what, problem):
        if what in DEVIATIONS:
            if not problem:
                problem = "it holds now: take it out of DEVIATIONS"
            else:
                self.deviating += 1
                return
        if problem:
            self.failed += 1
            print(f"FAILED {what}: {problem}", flush=True)
        else:
            self.passed += 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Hob:
    """A Hob on free ports with a platform of one service that owns two topics."""

    def __init__(self, binary, folder):
        self.folder = folder
        (folder / "shop").mkdir(parents=True)
        (folder / "hob.yml").write_text(PLATFORM)
        (folder / "shop/service.yml").write_text(SERVICE)
        while True:
            offset = free_port() - 8080
            if 0 < offset < 50_000 and is_free(7070 + offset) and is_free(8080 + offset):
                break
        self.api, self.data = f"http://127.0.0.1:{7070 + offset}", folder / "data"
        self.said = open(folder / "said", "w+b")
        command = [binary, "up", str(folder), "--data", str(self.data), "--port-offset", str(offset)]
        self.process = subprocess.Popen(command, stdout=self.said, stderr=self.said)
        until("hob up is ready", lambda: b"Ctrl-C stops everything" in (folder / "said").read_bytes())
        self.token = (self.data / "admin.token").read_text().strip()

    def call(self, method, path, body=None):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        body = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def until(what, holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.05)


def difference(case, event_id, attributes, data, data_base64):
    """What an event says otherwise than the case from which it was made; None when nothing does."""
    wanted = dict(case["attributes"], id=event_id)
    for name, value in wanted.items():
        got = attributes.get(name)
        if name == "time":
            same = got and instant(got) == instant(value)
        else:
            same = str(got) == str(value)
        if not same:
            return f"{name} is {got!r}, not {value!r}"
    if "data_base64" in case:
        return None if data_base64 == case["data_base64"] else f"data_base64 is {data_base64!r} (data {data!r})"
    return None if data == case.get("data") else f"data is {data!r} (base64 {data_base64!r}), not {case.get('data')!r}"


def instant(text):
    # Python 3.10 and older read neither Z nor two digits of a fraction.
    text = re.sub(r"\.(\d+)", lambda m: "." + (m[1] + "000000")[:6], text.replace("Z", "+00:00"))
    return datetime.fromisoformat(text)


def lines_of(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def clients(cache):
    node = {**os.environ, "INTEROP_NODE_MODULES": f"{cache}/node/client.mjs"}
    return {
        "python": ([f"{cache}/venv/bin/python", str(HERE / "python/client.py")], None),
        "node": (["node", str(HERE / "node/client.mjs")], node),
        "rust": ([f"{cache}/rust/debug/interop"], None),
    }


def publishes(hob, name, command, env, cases, count):
    given = {"api": hob.api, "token": hob.token, "run": f"{name}-p", "cases": cases}
    done = subprocess.run([*command, "publish", json.dumps(given)], env=env, capture_output=True, text=True, timeout=120)
    lines = lines_of(done.stdout)
    if len(lines) != len(cases) * len(MODES):
        count.check(f"{name} publishes", f"{len(lines)} answers; {done.stderr[-2000:]}")
    for line in lines:
        case = cases[line["case"]]
        problem = line.get("error")
        if not problem:
            event = hob.call("GET", f"/v1/events/{line['sequence']}")
            problem = difference(case, line["id"], event, event.get("data"), event.get("data_base64"))
        count.check(f"{name} publishes {case['name']!r} as {line['mode']}", problem)


def receives(hob, name, command, env, cases, count):
    port, secrets = free_port(), {}
    for mode in MODES:
        spec = {"topics": ["orders", "pings"], "sink": f"http://127.0.0.1:{port}/{mode}", "delivery": {"format": mode}}
        made = hob.call("PUT", f"/v1/subscriptions/{name}-{mode}?service=shop", spec)
        secrets[mode] = made["secret"]
    given = {"port": port, "secrets": secrets}
    receiver = subprocess.Popen([*command, "receive", json.dumps(given)], env=env, stdout=subprocess.PIPE, text=True)
    heard = []
    thread = threading.Thread(target=lambda: [heard.append(line) for line in receiver.stdout], daemon=True)
    thread.start()
    try:
        until(f"{name} listens", lambda: not is_free(port))
        for n, case in enumerate(cases):
            event = {"specversion": "1.0", "id": f"{name}-r-{n}", **case["attributes"]}
            event.update({k: case[k] for k in ("data", "data_base64") if k in case})
            publish_one(hob, case["topic"], event)
        try:
            until(f"{name} receives", lambda: len(heard) >= len(cases) * len(MODES))
        except TimeoutError as error:
            count.check(f"{name} receives", f"{error}: {len(heard)} of {len(cases) * len(MODES)}")
    finally:
        receiver.kill()
        for mode in MODES:
            hob_delete(hob, f"/v1/subscriptions/{name}-{mode}?service=shop")
    for line in lines_of("".join(list(heard))):
        problem, label = line.get("error"), f"{name} receives {line['mode']}"
        if not problem:
            event_id = line["attributes"]["id"]
            case = cases[int(event_id.rsplit("-", 1)[1])]
            label += f" {case['name']!r}"
            problem = difference(case, event_id, line["attributes"], line.get("data"), line.get("data_base64"))
        count.check(label, problem)
        if "verified" in line and not str(line["verified"]).startswith("this verifier"):
            count.check(f"{label}: signature", None if line["verified"] is True else line["verified"])


def publish_one(hob, topic, event):
    headers = {"authorization": f"Bearer {hob.token}", "content-type": "application/cloudevents+json"}
    url = f"{hob.api}/v1/topics/{topic}/events"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")).close()


def hob_delete(hob, path):
    headers = {"authorization": f"Bearer {hob.token}"}
    urllib.request.urlopen(urllib.request.Request(hob.api + path, headers=headers, method="DELETE")).close()


def docs(hob, count):
    """Runs the shell blocks of docs/events.md in order; `#=> text` says what the command before it must print."""
    text = (HERE.parent / "docs/events.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    env = {**os.environ, "HOB_URL": hob.api, "HOB_TOKEN": hob.token}
    for n, block in enumerate(blocks):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], env=env, cwd=hob.folder, capture_output=True, text=True, timeout=60)
        wanted = re.findall(r"^#=> (.*)$", block, re.M)
        missing = [w for w in wanted if w not in done.stdout]
        problem = None
        if done.returncode:
            problem = f"exit {done.returncode}: {done.stderr[-1500:]}"
        elif missing:
            problem = f"{missing} not in {done.stdout[-1500:]!r}"
        first = next((line for line in block.splitlines() if line and not line.startswith("#")), "")
        count.check(f"docs block {n + 1} ({first[:60]})", problem)
    return len(blocks)


def schemathesis(hob, cache, count):
    """Every operation with made-up requests: nothing may answer 5xx. Streams that never end are left out."""
    command = [
        f"{cache}/venv/bin/schemathesis", "run", f"{hob.api}/openapi.json", "-H", f"Authorization: Bearer {hob.token}",
        "--checks", "not_a_server_error", "--max-examples", os.environ.get("INTEROP_EXAMPLES", "10"), "--seed", "7",
        "--exclude-path-regex", "(/v1/live|/intended|/v1/routing)", "--request-timeout", "5",
        "--phases", "examples,coverage,fuzzing", "--workers", "2", "--no-color",
    ]
    done = subprocess.run(command, cwd=hob.folder, capture_output=True, text=True, timeout=1200)
    figures = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    tested = re.search(r"Tested: (\d+)", done.stdout)
    shown = f"{figures[0] if figures else 'no figures'}, {tested[1] if tested else '?'} operations"
    print(f"schemathesis: {shown}")
    count.check("schemathesis", None if done.returncode == 0 else done.stdout[-6000:] + done.stderr[-2000:])


def main():
    binary, cache = sys.argv[1], sys.argv[2]
    wanted = sys.argv[3:] or ["clients", "docs", "api"]
    cases = json.loads((HERE / "cases.json").read_text())
    total = Count()
    with tempfile.TemporaryDirectory(prefix="hob-interop-") as folder:
        hob = Hob(binary, Path(folder))
        try:
            for name, (command, env) in clients(cache).items() if "clients" in wanted else ():
                for direction in (publishes, receives):
                    count = Count()
                    direction(hob, name, command, env, cases, count)
                    print(f"{name} {direction.__name__}: {count.passed} passed, {count.failed} failed, {count.deviating} known to deviate", flush=True)
                    for figure in ("passed", "failed", "deviating"):
                        setattr(total, figure, getattr(total, figure) + getattr(count, figure))
            if "docs" in wanted:
                print(f"docs: {docs(hob, total)} blocks")
            if "api" in wanted:
                schemathesis(hob, cache, total)
        finally:
            hob.stop()
    print(f"known to deviate: {total.deviating}")
    print(f"interop: {total.passed} passed, {total.failed} failed")
    sys.exit(1 if total.failed else 0)


main()
