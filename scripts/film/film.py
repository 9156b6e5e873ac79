"""Films a shell and the live page of a service at work: a picture each tenth of a second, where the machine can.

    film.py PICTURES --port PORT --brokers ADDRESS --events FILE

PICTURES is a directory. In the end it has the pictures, and `list`, which tells ffmpeg's concat demuxer how long each is shown.
`highwater` is on the PATH, and its working directory is this one. All that is shown ran.
"""

import argparse
import base64
import json
import os
import pathlib
import queue
import re
import subprocess
import threading
import time
import urllib.request
import uuid

from selenium import webdriver

DONE = "--- done ---"


class Camera:
    """A browser whose window is filmed."""

    def __init__(self, pictures: pathlib.Path):
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,720"):
            options.add_argument(argument)
        self.chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        size = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
        self.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.pictures = pictures
        self.times: list[float] = []

    def shoot(self) -> None:
        picture = self.chromium.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        (self.pictures / f"{len(self.times):05}.png").write_bytes(base64.b64decode(picture["data"]))
        self.times.append(time.monotonic())

    def film(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.shoot()
            time.sleep(max(0.0, 0.1 - (time.monotonic() - now)))

    def cut(self) -> None:
        lasts = [after - before for before, after in zip(self.times, self.times[1:])] + [1.0]
        lines = [f"file '{number:05}.png'\nduration {last:.3f}" for number, last in enumerate(lasts)]
        # The demuxer does not hold the last picture.
        lines.append(f"file '{len(lasts) - 1:05}.png'")
        (self.pictures / "list").write_text("\n".join(lines) + "\n")


class Shell:
    """A shell that stays, typed into before the camera."""

    def __init__(self, camera: Camera):
        self.camera = camera
        self.bash = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in self.bash.stdout], daemon=True).start()

    def scene(self, caption: str) -> None:
        self.camera.chromium.get(pathlib.Path(__file__).with_name("terminal.html").as_uri())
        self.camera.chromium.execute_script("scene(arguments[0])", caption)

    def write(self, text: str) -> None:
        self.camera.chromium.execute_script("write(arguments[0])", text)

    def run(self, command: str, rest: float = 1.5) -> str:
        """Types the command, shows what it prints, and returns that."""
        self.write("$ ")
        for start in range(0, len(command), 4):
            self.write(command[start : start + 4])
            self.camera.shoot()
        self.camera.film(0.4)
        self.write("\n")
        self.bash.stdin.write(f"{command}\necho '{DONE}'\n")
        self.bash.stdin.flush()
        printed = ""
        while True:
            try:
                line = self.lines.get(timeout=0.1)
            except queue.Empty:
                self.camera.shoot()
                continue
            # What is printed need not end its line.
            text, ends, _ = line.partition(DONE)
            text += "\n" if ends and text else ""
            printed += text
            self.write(text)
            if ends:
                break
        self.camera.film(rest)
        return printed


class Client(threading.Thread):
    """Posts without a pause, and again what was not acknowledged, as a client would that must lose nothing."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.address, self.acknowledged, self.goes_on = address, 0, True

    def run(self) -> None:
        number = 0
        while self.goes_on:
            number += 1
            kind = ("LOGIN", "PRODUCT_VIEW", "LOGOUT")[number % 3]
            event = {"eventId": str(uuid.uuid4()), "userId": f"user-{number % 40}", "eventType": kind, "payload": {"number": number}}
            request = urllib.request.Request(
                f"{self.address}/events/generate", json.dumps(event).encode(), {"content-type": "application/json"}
            )
            while True:
                try:
                    urllib.request.urlopen(request, timeout=10).close()
                    break
                except OSError:
                    time.sleep(0.2)
            self.acknowledged += 1
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("pictures", type=pathlib.Path)
    for name in ("port", "brokers", "events"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    address = f"http://localhost:{given.port}"
    os.environ |= {"PORT": given.port, "HOST": "127.0.0.1", "RUST_LOG": "warn", "LOG_FORMAT": "text"}
    camera = Camera(given.pictures)
    shell = Shell(camera)
    start = f"KAFKA_BROKERS={given.brokers} highwater >>highwater.log 2>&1 &"
    ready = f"curl -s --retry 60 --retry-delay 1 --retry-all-errors {address}/ready"
    try:
        shell.scene("Highwater: events over REST, through Kafka, each stored once")
        shell.run("ls -lhL $(command -v highwater) | cut -d' ' -f5", 0.5)
        shell.run(start, 0.5)
        shell.run(ready)
        event = '{"userId":"ada","eventType":"LOGIN","payload":{"ip":"192.168.1.1"}}'
        printed = shell.run(f"curl -s {address}/events/generate -H 'content-type: application/json' -d '{event}'")
        event_id = re.search(r"[0-9a-f-]{36}", printed)[0]
        shell.run(f"curl -s '{address}/events/processed/{event_id}?wait=5s'", 3)

        shell.scene("A batch is a stream: receipts come while lines still go in")
        shell.run(f"ls -lh {given.events} | cut -d' ' -f5-", 0.5)
        shell.run(f"highwater import {given.events}", 3)

        client = Client(address)
        client.start()
        camera.chromium.get(f"{address}/console")
        camera.film(12)

        shell.scene("Killed in the middle of its work, while a client posts")
        shell.run("kill -9 %1; sleep 2", 1)
        shell.run(start, 0.5)
        shell.run(ready, 2)
        camera.chromium.get(f"{address}/console")
        camera.film(8)
        client.goes_on = False
        client.join()
        shell.scene(f"The client was told of {client.acknowledged:,} events that they are stored")
        count = "curl -s '{}/events/processed?{}' | jq '[length, (map(.eventId) | unique | length)]' -c"
        users = "from=" + time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
        shell.write("# how many there are, and how many ids: each once, with the imported ones and the first\n")
        shell.run(count.format(address, users), 4)
    finally:
        shell.bash.communicate("kill %1\n", timeout=20)
        camera.cut()
        camera.chromium.quit()


if __name__ == "__main__":
    main()
