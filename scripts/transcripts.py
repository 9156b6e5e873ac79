#!/usr/bin/env python3
"""Runs the commands that README.md and docs show, and compares the output with the text below each.

A transcript is a block that begins with ```sh transcript, and the block that follows it. The commands run in the order of
the documents against one program with the embedded broker: target/debug/highwater, or the path in HIGHWATER. Ids, times,
durations and cursors are masked on both sides. UPDATE=1 writes the output into the documents instead.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "docs/using/activity.md", "docs/using/errors.md", "docs/operating/health.md"]
TRANSCRIPT = re.compile(r"(```sh transcript\n(?P<commands>.*?)```\n\n```\n)(?P<shown>.*?)(?=```\n)", re.DOTALL)
MASKS = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<time>"),
    (r"(?m)^date: .*\n", ""),
    (r"cursor=[0-9a-f-]+", "cursor=<cursor>"),
    (r'"(durationMs|pausedMs)":\d+', r'"\1":<ms>'),
]
# curl is as silent as on a terminal, and its output ends with a line break.
CURL = """curl() { local out; out=$(command curl -s "$@"; echo x); out=${out%x}; printf %s "$out"
[[ $out == *$'\\n' ]] || echo; }
"""


def masked(text):
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def run(commands, port):
    script = CURL + commands.replace("localhost:8000", f"localhost:{port}")
    ran = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return re.sub(r"(?m)^date: .*\n", "", ran.stdout.replace("\r", ""))


def check(commands, shown, port):
    """The output of the commands; a listing may take some attempts until the events are processed."""
    deadline = time.monotonic() + 5
    while True:
        output = run(commands, port)
        is_repeatable = not re.search(r"\s(-d|-X|--data)\s", commands)
        if masked(output) == masked(shown) or not is_repeatable or time.monotonic() > deadline:
            return output
        time.sleep(0.1)


def wait_until_ready(program, port, log):
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/ready", timeout=2).close()
            return
        except OSError:
            if program.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                sys.exit(f"the program is not ready:\n{log.read()}")
            time.sleep(0.1)


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = os.path.abspath(os.environ.get("HIGHWATER", TOP / "target/debug/highwater"))  # it starts elsewhere
    log = tempfile.TemporaryFile("w+")
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    program = subprocess.Popen([binary], cwd="/", env=environment, stdout=log, stderr=log)
    stale = 0
    try:
        wait_until_ready(program, port, log)
        for name in DOCUMENTS:
            path = TOP / name
            before = path.read_text()

            def checked(found):
                nonlocal stale
                shown = found["shown"]
                output = check(found["commands"], shown, port)
                if masked(output) == masked(shown):
                    return found[0]
                stale += 1
                print(f"{name}: {found['commands']}shows\n{shown}and gives\n{output}")
                return found[1] + output

            after, count = TRANSCRIPT.subn(checked, before)
            print(f"{name}: {count} transcripts")
            if os.environ.get("UPDATE") == "1":
                path.write_text(after)
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(timeout=30)
    if stale and os.environ.get("UPDATE") != "1":
        sys.exit(f"{stale} transcripts are stale: UPDATE=1 scripts/transcripts.py writes them anew")


if __name__ == "__main__":
    main()
