"""The gallery in a real browser, without a network: pictures lie on one another, sliders follow mouse and keys, lists change.

A Chromium is asked over a pipe, by its own protocol of messages; nothing has to be installed for that. VITRUVIAN_BROWSER names one
that is not in the PATH.
"""

import fcntl
import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.infer.gallery import exhibit, make_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell", "headless_shell")
ALONE = ("--headless", "--no-sandbox", "--disable-gpu", "--no-zygote", "--no-first-run", "--remote-debugging-pipe")
PATIENCE_S = 120
LEGEND = [(f"part_{number}", (number, 0, 200)) for number in range(28)]
SIZES = {"wide": (300, 900), "tall": (1500, 400), "tiny": (40, 30)}


class Tab:
    """A page in a browser of its own.

    Args:
        command: the browser.
        profile: a folder for what it keeps.
    """

    def __init__(self, command: str, profile: Path) -> None:
        pipes = [os.pipe(), os.pipe()]
        (theirs, self._to), (self._from, ours) = pipes
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs, ours)]
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        ends = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(high, (3, 4))]  # it reads from 3 and writes to 4
        options = [*ALONE, f"--user-data-dir={profile}", "--window-size=1000,800"]
        self.process = os.posix_spawnp(command, [command, *options], os.environ, file_actions=[*quiet, *ends])
        for end in (theirs, ours, *high):
            os.close(end)
        self._read, self._count, self._session = b"", 0, {}
        self.events: list[dict[str, Any]] = []

    def attach(self) -> None:
        """Make the page, and cut it off from the network."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a message and wait for what it is answered; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (heard := self._heard()).get("id") != self._count:
            self.events.append(heard)
        assert "error" not in heard, heard
        return heard["result"]

    def open(self, path: Path) -> None:
        """Go to a page and wait until it is loaded."""
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._heard())

    def find(self, script: str) -> Any:
        """The value of an expression, or of its promise."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        for kind, (x, y), held in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=held, clickCount=1)
        self.find("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")  # it is seen by then

    def close(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._to)
        os.close(self._from)

    def _heard(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._from], [], [], PATIENCE_S)[0], "the browser says nothing"
            more = os.read(self._from, 2**20)
            assert more, "the browser is gone"
            self._read += more
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Tab]:
    """The gallery of three photos with two answers each, opened."""
    command = os.environ.get("VITRUVIAN_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if command is None:  # a browser is nothing that we install; test_gallery.py reads the page itself
        pytest.skip("there is no Chromium in the PATH; VITRUVIAN_BROWSER may name one")
    folder = tmp_path_factory.mktemp("gallery")
    for name, hw in SIZES.items():
        photo = np.zeros((*hw, 3), np.uint8)
        pictures = {"photo": photo + 50, "depth": photo + 150, "seg": photo + 250}
        exhibit(folder, f"sub/{name} #1", pictures, legends={"seg": LEGEND})
    tab = Tab(command, tmp_path_factory.mktemp("profile"))
    try:
        tab.attach()
        tab.open(make_page(folder))
        yield tab
    finally:
        tab.close()


def box(tab: Tab, selector: str, number: int = 0) -> list[float]:
    """Left, top, width and height of an element, scrolled to, in pixels of the window."""
    element = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
    tab.find(f"{element}.scrollIntoView({{block: 'center'}})")
    return tab.find(f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())")


def at(tab: Tab, number: int = 0) -> float:
    """Where the slider of a pair stands, percent: by its value, by the edge that is seen, and by how much is cut off the answer."""
    pair = f"document.querySelectorAll('.pair')[{number}]"
    value = tab.find(f"Number({pair}.querySelector('input').value)")
    cut = tab.find(f"getComputedStyle({pair}.querySelector('.answer')).clipPath")
    assert float(cut.rstrip("%)").split()[-1].removesuffix("%")) == pytest.approx(value, abs=0.1)
    left, _, width, _ = box(tab, ".pair", number)
    assert box(tab, ".edge", number)[0] + 1 == pytest.approx(left + width * value / 100, abs=1.5)
    return value


def test_photo_and_answer_lie_on_one_another_and_all_of_them_is_seen(tab):
    height = tab.find("innerHeight")
    for number, name in enumerate(sorted(SIZES)):
        H, W = SIZES[name]
        left, top, width, tall = box(tab, ".pair", number)
        assert width / tall == pytest.approx(W / H, rel=0.02)
        assert tall <= 0.77 * height, "all of a picture fits into the window"
        assert width <= max(2 * W, 12 * 15 + 1), "a small one is not blown up"
        for image in ("img:not(.answer)", ".answer"):
            assert box(tab, f".pair {image}", number) == pytest.approx([left, top, width, tall], abs=0.5)
        shown = tab.find(f"[...document.querySelectorAll('.pair')[{number}].querySelectorAll('img')].map(one => one.decode())")
        assert shown is not None
        assert tab.find(f"document.querySelectorAll('.pair')[{number}].querySelector('.answer').naturalWidth") == W


def test_the_page_is_not_wider_than_a_telephone(tab):
    tab.ask("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=2, mobile=True)
    wide = tab.find("document.documentElement.scrollWidth")
    tab.ask("Emulation.clearDeviceMetricsOverride")
    assert wide <= 360


def test_the_edge_follows_the_mouse(tab):
    left, top, width, height = box(tab, ".pair")
    y = top + height / 2
    tab.drag((left + width / 2, y), (left + 0.8 * width, y))
    assert at(tab) == pytest.approx(80, abs=1)
    tab.drag((left + 0.8 * width, y), (left + 0.1 * width, y))
    assert at(tab) == pytest.approx(10, abs=1)


def test_the_keys_move_it_and_choose(tab):
    tab.find("document.querySelector('figcaption select').focus()")
    shown = "document.querySelector('figure .right').textContent + ' ' + document.querySelector('figure .answer').src"
    assert tab.find(shown).split()[0] == "depth"
    assert box(tab, ".legend")[3] == 0, "it is that of another picture"
    tab.press("ArrowDown", 40)
    assert tab.find(shown).split()[0] == "seg"
    assert tab.find(shown).endswith(".seg.jpg")
    assert box(tab, ".legend")[3] > 0
    tab.press("Tab", 9)
    assert tab.find("document.activeElement.type") == "range", "the slider comes next"
    before = at(tab)
    for _ in range(5):
        tab.press("ArrowRight", 39)
    assert 3 < at(tab) - before < 15


def test_one_list_changes_all_of_them(tab):
    tab.find("document.querySelector('#everywhere').focus()")
    for _ in range(2):
        tab.press("ArrowDown", 40)
    assert tab.find("[...document.querySelectorAll('.answer')].map(one => one.src.split('.').at(-2))") == ["seg"] * 3
    assert tab.find("[...document.querySelectorAll('figcaption select')].map(one => one.selectedIndex)") == [1, 1, 1]


def test_what_the_colours_are_called_stands_under_their_picture(tab):
    assert all(box(tab, ".legend", number)[3] > 0 for number in range(len(SIZES))), "seg is shown by now"
    edges = "['.pair', '.legend'].map(one => document.querySelector(one).getBoundingClientRect())"
    assert tab.find(f"(([picture, legend]) => legend.top - picture.bottom)({edges})") > 0
    assert box(tab, ".legend i")[2:] == pytest.approx([12.0, 12.0], abs=1.5)
    assert tab.find("getComputedStyle(document.querySelectorAll('.legend i')[5]).backgroundColor") == "rgb(5, 0, 200)"
    assert tab.find("document.querySelector('.legend li').innerText") == "part 0"


def test_nothing_was_asked_from_anywhere_else_and_nothing_went_wrong(tab):
    asked = [event["params"]["request"]["url"] for event in tab.events if event.get("method") == "Network.requestWillBeSent"]
    assert len(asked) >= 1 + 2 * len(SIZES)
    assert all(address.startswith("file:///") for address in asked)
    wrong = ("Runtime.exceptionThrown", "Network.loadingFailed", "Log.entryAdded")
    assert not [event for event in tab.events if event.get("method") in wrong]
