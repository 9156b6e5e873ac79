"""Uses the live page as a person would, in a headless Chromium, and holds it against axe.

    console.py OPEN GUARDED --broker ADDRESS --process ID --keys DIRECTORY --axe FILE [--kafka PORT] [--pictures DIRECTORY]

OPEN and GUARDED are addresses of activity services: one without AUTH, whose process is ended here, and one with AUTH. DIRECTORY
has the files admin-token (of OPEN), key (of GUARDED, for everything) and reader (for events alone). The broker of both is in
the process of OPEN, or is a cluster of scripts/kafka.sh at PORT, whose only broker is killed here and started again.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 20  # seconds
WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
ALL = [(scheme, width) for scheme in SCHEMES for width in WIDTHS]
ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def post(address: str, event: dict | str, key: str = "") -> int:
    """The status of a posted event; one of text goes as it is."""
    body = event if isinstance(event, str) else json.dumps(event)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{address}/events/generate", body.encode(), headers)
    try:
        return urllib.request.urlopen(request, timeout=15).status
    except urllib.error.HTTPError as error:
        return error.code


class Link:
    """A way to a service that can be cut."""

    def __init__(self, address: str):
        self.there = ("127.0.0.1", int(address.rpartition(":")[2]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            client = self.listener.accept()[0]
            service = socket.create_connection(self.there)
            self.sockets += [client, service]
            for one, other in ((client, service), (service, client)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    @staticmethod
    def carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for it in (one, other):
            with contextlib.suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for it in self.sockets:
            with contextlib.suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()


class Page:
    """The live page of a service."""

    def __init__(self, axe: str):
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.axe = axe
        self.addresses: list[str] = []

    def open(self, address: str) -> None:
        self.addresses.append(address)
        self.look("light", "wide")
        self.chromium.get(f"{address}/console")

    def look(self, scheme: str, width: str) -> None:
        """As a reader with that preference sees it, on a screen of that width."""
        columns, rows = WIDTHS[width]
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        screen = {"width": columns, "height": rows, "deviceScaleFactor": 1, "mobile": width == "phone"}
        self.chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def find(self, css: str):
        return self.chromium.find_element(By.CSS_SELECTOR, css)

    def count(self, css: str) -> int:
        return len(self.chromium.find_elements(By.CSS_SELECTOR, css))

    def text(self, css: str) -> str:
        return self.find(css).text

    def until(self, what: str, condition) -> None:
        waiting = WebDriverWait(self.chromium, PATIENCE, 0.1, ignored_exceptions=[StaleElementReferenceException])
        try:
            waiting.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"not within {PATIENCE} s: {what}; the page says:\n{self.text('body')}") from None
        print(f"ok    {what}", flush=True)

    def shows(self, what: str, css: str, *words: str) -> None:
        """Until that element has all these words."""
        self.until(what, lambda: all(word in self.text(css) for word in words))

    def click(self, css: str) -> None:
        self.find(css).click()

    def write(self, css: str, text: str) -> None:
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def give(self, field: str, credential: str) -> None:
        """Gives a credential by the dialog, from the keyboard alone."""
        self.find("#open-access").send_keys(Keys.ENTER)
        self.find(f"#access [name={field}]").send_keys(credential, Keys.ENTER)

    def is_accessible(self, state: str, looks=(("light", "wide"), ("dark", "phone"))) -> None:
        """axe finds nothing, and nothing is wider than the screen, in these schemes and widths."""
        for scheme, width in looks:
            self.look(scheme, width)
            self.chromium.execute_script(f"if (!window.axe) {{ {self.axe} }}")
            found = self.chromium.execute_async_script("axe.run().then((it) => arguments[0](it.violations))")
            faults = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]
            assert not faults, f"{state}, {scheme}, {width}: axe finds {faults}"
            wide = self.chromium.execute_script("return document.documentElement.scrollWidth")
            assert wide <= WIDTHS[width][0], f"{state}: {wide} pixels are wider than the screen"
        self.look("light", "wide")
        print(f"ok    axe finds nothing: {state}", flush=True)

    def picture(self, scheme: str, file: pathlib.Path) -> None:
        self.look(scheme, "wide")
        rows = self.chromium.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": WIDTHS["wide"][0], "height": rows, "scale": 1}
        taken = self.chromium.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        file.write_bytes(base64.b64decode(taken["data"]))

    def has_no_complaint(self) -> None:
        """No other address was asked, and the browser says nothing but that requests were refused or not answered."""
        messages = [json.loads(entry["message"])["message"] for entry in self.chromium.get_log("performance")]
        asked = [it["params"]["request"]["url"] for it in messages if it["method"] == "Network.requestWillBeSent"]
        known = (*(f"{address}/" for address in self.addresses), "data:")
        outside = [url for url in asked if not url.startswith(known)]
        assert asked and not outside, f"other addresses were asked: {outside}"
        complaints = [entry["message"] for entry in self.chromium.get_log("browser")]
        complaints = [it for it in complaints if "Failed to load resource" not in it]
        assert not complaints, f"the browser complains: {complaints}"
        print("ok    no other address is asked, and the browser has no complaint", flush=True)


def has_loading_states(address: str) -> None:
    html = urllib.request.urlopen(f"{address}/console", timeout=15).read().decode()
    sections, loading = html.count("<section "), html.count('data-state="loading">')
    assert sections == loading > 5, f"{loading} of {sections} sections are loading at first"
    print("ok    each section says that it is loading, before there is an answer", flush=True)


def keyboard(page: Page) -> None:
    page.find("body").send_keys(Keys.TAB)
    first = page.chromium.switch_to.active_element
    page.until("the first stop is the link to the events", lambda: first.get_attribute("class") == "skip" and first.location["x"] >= 0)
    first.send_keys(Keys.TAB)
    pause = page.chromium.switch_to.active_element
    assert pause.text == "Pause"
    pause.send_keys(Keys.SPACE)
    page.until("a pause is told", lambda: pause.get_attribute("aria-pressed") == "true")
    pause.send_keys(Keys.SPACE)
    page.find("#open-access").send_keys(Keys.ENTER)
    page.shows("the dialog says what the page holds", "#access", "The page has neither.")
    page.is_accessible("the dialog of credentials")
    page.chromium.switch_to.active_element.send_keys(Keys.ESCAPE)


def events(page: Page, address: str) -> None:
    page.shows("without an event the page says how to post one", "#events .message", "No event is stored here yet", "curl ")
    page.shows("the page says how the service is", "#now", "Warning", "replication factor 1")
    page.shows("partitions are listed with their lag", "#partitions tbody tr:nth-of-type(3)", "2", "caught up")
    page.shows("members and rebalances are listed with their reasons", "#group", "this instance", "the consumer is starting")
    page.shows("nothing was refused yet", "#refused .message", "None since this instance started")
    page.is_accessible("empty", ALL)
    for number in range(6):
        assert post(address, {"userId": f"user-{number % 2}", "eventType": "LOGIN"}) == 201
    page.until("posted events appear", lambda: page.count("#events li") == 6)
    exact = f'{{"eventId":"{ID}","userId":"ann <b>","eventType":"PRODUCT_VIEW","payload":{{"score":1.0,"payload":{{}}}}}}'
    assert post(address, exact) == 201
    page.shows("the newest comes first", "#events li:first-child summary", "PRODUCT_VIEW", "ann <b>")
    page.click("#events li:first-child summary")
    page.shows("its payload is as it was posted", "#events li:first-child", '{"score":1.0,"payload":{}}', ID)
    assert post(address, {"userId": "bob", "eventType": "LOGOUT"}) == 201
    page.shows("a further one comes before it", "#events li:first-child", "LOGOUT", "bob")
    page.shows("what was open stays open", "#events li:nth-child(2)", '{"score":1.0,"payload":{}}')
    assert post(address, {"userId": "", "eventType": "LOGIN"}) == 400
    page.shows("a refused post is counted with its reason", "#refused", "/events/generate", "400: not valid")
    page.shows("single ones need a token", "#refused .latest", "With an admin token")
    page.shows("breaker and store are told", "#kafka", "Breaker of broker 1", "closed", "can be used")
    page.until("figures are drawn", lambda: "Now: in" in page.find("#figures svg[role=img]").get_attribute("aria-label"))


def searching(page: Page) -> None:
    def search(**fields: str) -> None:
        for name in ("userId", "eventType", "eventId"):
            page.write(f"#search [name={name}]", fields.get(name, ""))
        page.click("#search [type=submit]")

    search(userId="user-1")
    page.shows("events are found by user", ".found", "3 events")
    assert {line.text.split()[-1] for line in page.chromium.find_elements(By.CSS_SELECTOR, "#events summary")} == {"user-1"}
    search(eventType="logout")
    page.shows("events are found by type, in any case", ".found", "One event")
    search(eventId=ID)
    page.shows("an event is found by its id", "#events li", "ann <b>")
    search(eventId=ID, userId="bob")
    page.shows("of all fields together", "#events .message", "Nothing fits")
    search(eventId="none")
    page.shows("a bad id is named", "#events .message", "400", "must be a UUID")
    search(userId="nobody")
    page.shows("where nothing fits, the page says so", ".found", "No events")
    page.click("#search [type=reset]")
    page.until("then the latest are there again", lambda: page.count("#events li") == 8)
    page.find("#search [name=userId]").send_keys("bob", Keys.ENTER)
    page.shows("the search works from the keyboard", ".found", "One event")
    page.find("#search [type=reset]").send_keys(Keys.ENTER)


def following(page: Page, address: str) -> None:
    """A page with an EventSource, whose connection is cut: each event comes once. The live page's own stream is cut, too."""
    link = Link(address)
    page.open(link.address)
    page.chromium.execute_script(
        """
        window.seen = [];
        window.opened = window.cuts = 0;
        const source = new EventSource("/events/stream?eventType=logout");
        source.onopen = () => (opened += 1);
        source.onmessage = ({ data }) => seen.push(JSON.parse(data).eventId);
        source.onerror = () => (cuts += 1);
        """
    )

    def value(of: str):
        return page.chromium.execute_script(f"return {of}")

    page.until("an EventSource is open", lambda: value("opened") == 1)
    posted: list[str] = []

    def send(many: int) -> None:
        for number in range(many):
            posted.append(str(uuid.uuid4()))
            event = {"eventId": posted[-1], "userId": f"user-{number}", "eventType": "LOGOUT"}
            assert post(address, event) == 201 and post(address, {"userId": "ann", "eventType": "LOGIN"}) == 201

    send(10)
    page.until("it hears of each event, and of no other type", lambda: sorted(value("seen")) == sorted(posted))
    for cut in range(1, 4):
        link.cut()
        page.until("its connection is cut", lambda cut=cut: value("cuts") == cut)
        send(10)
        page.until("it goes on without a gap or a copy", lambda: sorted(value("seen")) == sorted(posted))
    assert value("opened") == 4, "it was opened again after each cut"
    assert post(address, {"userId": "the-last", "eventType": "LOGIN"}) == 201
    page.shows("the live page goes on, too", "#events li:first-child", "the-last")
    page.until("it has what came meanwhile", lambda: page.count("#events li") == 89)


def dead_letters(page: Page, broker: str, token: str) -> None:
    page.shows("dead letters need a token", "#dead-letters .message", "A key or token is needed")
    page.give("admin", "wrong")
    page.shows("a wrong one is named", "#dead-letters .message", "is not taken")
    page.give("admin", token)
    page.shows("without a dead letter the page says so", "#dead-letters .message", "every record could be processed")
    page.shows("refused posts are listed with their reasons", "#refused .latest li", "400", "userId")
    poison = ["kcat", "-q", "-b", broker, "-P", "-t", "user-activity-events", "-k", "user-9"]
    subprocess.run(poison, input=b"no event\n", check=True, timeout=30)
    page.shows("a record that cannot be processed appears with its reason", "#dead-letters li", "not JSON", "waits")
    page.click("#dead-letters summary")
    page.shows("with its key and value", "#dead-letters li", "no event", "user-9")
    page.click("#dead-letters li button")
    page.shows("sending back is asked about", "#confirm", "not JSON", "Send dead letters back?")
    page.is_accessible("the question whether to send back")
    page.chromium.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until("Escape leaves it", lambda: not page.find("#confirm").is_displayed())
    assert page.text(".done") == "", "nothing was sent back"
    page.click("#dead-letters li button")
    page.click("#confirm [value=yes]")
    page.shows("it is sent back", ".done", "Sent back: 1.")
    page.shows("it fails again and is counted", "#dead-letters li:first-child", "not JSON", "waits")
    page.shows("the one before is marked", "#dead-letters li:nth-child(2)", "sent back")
    page.write(".filter [name=reason]", "another reason")
    page.click(".filter [type=submit]")
    page.shows("dead letters are found by their reason", "#dead-letters .message", "No dead letter has this")
    page.write(".filter [name=reason]", "not JSON")
    page.click(".filter [type=submit]")
    page.shows("and listed again", "#dead-letters ol", "not JSON")


def guarded(page: Page, reader: str, key: str) -> None:
    page.shows("with AUTH events need a key", "#events .message", "A key or token is needed")
    page.shows("figures too", "#figures .message", "A key or token is needed")
    page.shows("how the service is, needs none", "#now", "replication factor 1")
    page.is_accessible("without a key")
    page.give("key", reader)
    page.shows("a key for events opens events", "#events ol", "LOGIN")
    page.shows("and says which scope it lacks", "#figures .message", "has not the scope admin")
    page.give("key", key)
    page.until("a key for everything opens all", lambda: page.find("#figures").get_attribute("data-state") == "ready")
    page.shows("dead letters among it", "#dead-letters ol", "not JSON")


def without_kafka(page: Page, address: str, key: str) -> None:
    page.shows("an outage of Kafka is told in words", "#now", "Kafka cannot be reached", "Posts are answered 503", "reads go on")
    page.shows("and where Kafka stands", "#kafka", "does not answer")
    page.shows("events can be read all the same", "#events ol", "LOGIN")
    assert post(address, {"userId": "ann", "eventType": "LOGIN"}, key) == 503
    page.shows("a post that Kafka did not take is told", "#refused", "503: not acknowledged by Kafka")
    page.is_accessible("without Kafka")


def without_service(page: Page) -> None:
    page.shows("a service that is away is told in words", "#now", "has not answered since")
    page.shows("what was there stays", "#events", "The service does not answer", "LOGIN")
    page.is_accessible("without the service")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("open")
    parser.add_argument("guarded")
    for name in ("broker", "process", "keys", "axe"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("kafka", "pictures"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    keys = {file.name: file.read_text().strip() for file in pathlib.Path(given.keys).iterdir()}
    axe = pathlib.Path(given.axe).read_text()

    with contextlib.ExitStack() as ending:
        page, other, watcher = Page(axe), Page(axe), Page(axe)
        for it in (page, other, watcher):
            ending.callback(it.chromium.quit)
        has_loading_states(given.open)
        page.open(given.open)
        keyboard(page)
        events(page, given.open)
        searching(page)
        following(watcher, given.open)
        dead_letters(page, given.broker, keys["admin-token"])
        page.is_accessible("with all that it can show", ALL)
        kept = page.chromium.execute_script("return localStorage.length + sessionStorage.length + document.cookie.length")
        assert kept == 0, "nothing is kept beyond the page"
        if given.pictures:
            fill(given.open)
            for scheme in SCHEMES:
                page.picture(scheme, pathlib.Path(given.pictures) / f"console-{scheme}.png")
            page.look("light", "wide")
        other.open(given.guarded)
        guarded(other, keys["reader"], keys["key"])
        cluster = pathlib.Path(__file__).parent.parent / "kafka.sh"
        if given.kafka:
            subprocess.run([cluster, "kill", given.kafka], check=True, timeout=60)
        else:
            os.kill(int(given.process), signal.SIGKILL)
        without_kafka(other, given.guarded, keys["key"])
        if given.kafka:
            subprocess.run([cluster, "revive", given.kafka], check=True, timeout=120, stdout=subprocess.DEVNULL)
            other.shows("when Kafka is back, the page says so", "#kafka", "Kafka\n✓ answers")
            other.until("and has no problem left", lambda: "Problem" not in other.text("#now"))
            os.kill(int(given.process), signal.SIGKILL)
        without_service(page)
        for it in (page, other, watcher):
            it.has_no_complaint()


def fill(address: str) -> None:
    """Load of half a minute, for charts that look like a service at work."""
    types = ("LOGIN", "PRODUCT_VIEW", "PRODUCT_VIEW", "LOGOUT")
    end, number = time.monotonic() + 30, 0
    while time.monotonic() < end:
        for _ in range(2 + number % 7):
            number += 1
            sku = {"sku": f"A-{number % 9}", "score": 1.0}
            post(address, {"userId": f"user-{number * 7 % 40}", "eventType": types[number % 4], "payload": sku})
        time.sleep(0.2)


if __name__ == "__main__":
    main()
