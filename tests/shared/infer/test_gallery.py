"""The gallery stands by itself: all that the page names lies beside it, whatever the photos are called. As a parser sees it."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from PIL import Image

from shared.infer.cli import infer
from shared.infer.gallery import exhibit, make_page
from shared.infer.manifest import Manifest
from shared.infer.predictor import Predictor
from shared.infer.reader import find
from shared.infer.run import run

RNG = np.random.default_rng(0)
NAMES = [
    "plain",
    "sub/a b",
    "a.b",
    "a.b.c",
    '"><script>alert(1)</script>',
    "100%?#&amp;",
    "line\nbreak",
    "ümläut/ünd",
    "{name}",
    "it's",
]
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """What a page holds; elements that are not closed in order are refused."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.folder, self.open = path.parent, []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.captions: list[str] = []
        self.legends: list[tuple[dict[str, str], list[tuple[str, str]]]] = []  # of a list its attributes, its colours and names
        self.text = path.read_text("utf-8")
        self.feed(self.text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "ul":
            self.legends.append((self.elements[-1][1], []))
        if tag == "i":
            self.legends[-1][1].append((self.elements[-1][1]["style"], ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-2:] == ["figcaption", "span"]:
            self.captions.append(data)
        if self.open[-2:] == ["ul", "li"]:
            self.legends[-1][1][-1] = (self.legends[-1][1][-1][0], data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for one, attributes in self.elements if one == tag]

    def named(self) -> list[Path]:
        """The files that the page wants."""
        addresses = [one["src"] for one in self.of("img")] + [one["value"] for one in self.of("option") if "value" in one]
        return [self.folder / unquote_to_bytes(address).decode() for address in addresses]


@pytest.fixture
def page(tmp_path) -> Page:
    for name in NAMES:
        picture = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        exhibit(tmp_path, name, {"photo": picture, "seg": picture // 2, "depth": picture // 3})
    return Page(make_page(tmp_path))


def test_every_photo_is_there_under_its_own_name(page):
    assert sorted(page.captions) == sorted(NAMES)
    assert len(page.of("img")) == 2 * len(NAMES)
    assert len(page.of("script")) == 1, "a name is no script"


def test_all_that_the_page_names_lies_beside_it_and_nothing_comes_from_elsewhere(page):
    files = page.named()
    assert set(files) == set(page.folder.rglob("*.jpg"))
    assert all(path.is_file() for path in files)
    assert "//" not in page.text.replace("<!doctype", "")
    assert not page.of("link")
    assert not any("src" in script for script in page.of("script"))


def test_every_pair_can_be_moved_and_changed_by_keys_and_says_what_it_is(page):
    sliders, choices = page.of("input"), page.of("select")
    assert choices.pop(0)["id"] == "everywhere"
    assert len(sliders) == len(choices) == len(NAMES)
    assert all(slider["type"] == "range" and name in slider["aria-label"] for slider, name in zip(sliders, page.captions))
    assert all(name in choice["aria-label"] for choice, name in zip(choices, page.captions))
    assert all(image["alt"] for image in page.of("img"))
    assert not any("tabindex" in attributes for _, attributes in page.elements)
    assert len(page.of("option")) == 2 * len(NAMES) + 3


def test_a_picture_whose_colours_have_names_has_a_list_of_them_that_is_seen_with_it_and_says_whose_it_is(tmp_path):
    picture = np.zeros((30, 40, 3), np.uint8)
    legend = [("left_<b>arm</b>", (1, 20, 255)), ("hair", (0, 0, 0))]
    exhibit(tmp_path, 'sub/a".b', {"photo": picture, "depth": picture, "seg": picture}, legends={"seg": legend, "depth": []})
    exhibit(tmp_path, "alone", {"photo": picture, "seg": picture}, legends={"seg": legend[:1]})
    exhibit(tmp_path, "nobody", {"photo": picture, "seg": picture}, legends={"seg": legend})
    exhibit(tmp_path, "nobody", {"photo": picture, "seg": picture}, legends={"seg": []})
    exhibit(tmp_path, "older", {"photo": picture, "seg": picture})
    page = Page(make_page(tmp_path))
    entries = [("background: rgb(1 20 255)", "left <b>arm</b>"), ("background: rgb(0 0 0)", "hair")]
    assert [found for _, found in page.legends] == [entries[:1], entries]
    (alone, _), (hidden, _) = page.legends
    assert alone["aria-label"] == "Colours of seg in alone"
    assert hidden["aria-label"] == 'Colours of seg in sub/a".b'
    assert (alone["data-of"], hidden["data-of"]) == ("seg", "seg")
    assert "hidden" not in alone
    assert "hidden" in hidden, "depth is shown first"


def test_a_run_names_the_parts_of_each_photo_the_largest_first(trained, tmp_path):
    predictor, out = Predictor.load(trained, device="cpu", only=["seg", "depth"]), tmp_path / "out"
    words = predictor.tasks[0].vocabulary
    assert words is not None
    with torch.no_grad():  # two iterations teach that all is background; noise decides between the others
        for bias in predictor.model.parameters():
            if bias.shape == (28,):
                bias[0] -= 1000
    Image.fromarray(RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    out.mkdir()
    for _ in range(2):
        assert run(predictor, find([tmp_path / "one.png"]), out, gallery=True, manifest=Manifest(out, {})) == {}
        with Image.open(out / "one.seg.png") as ids:
            counts = np.bincount(np.array(ids).ravel(), minlength=28)
        there = [part for part in np.argsort(-counts, kind="stable") if part and counts[part]]
        assert len(there) > 1
        ((attributes, entries),) = Page(out / "gallery.html").legends
        assert attributes["aria-label"] == "Colours of seg in one"
        assert [name for _, name in entries] == [words.names[part].replace("_", " ") for part in there]
        assert [colour for colour, _ in entries] == ["background: rgb({} {} {})".format(*words.colours[part]) for part in there]
        (out / "gallery_files" / "one.seg.json").unlink()  # one that is gone is made again


def test_pictures_are_1600_pixels_at_most_and_small_ones_as_they_are(tmp_path):
    for hw, shown in (((900, 3200), (1600, 450)), ((5000, 2), (1, 1600)), ((20, 30), (30, 20))):
        for path in exhibit(tmp_path, str(hw), {"photo": np.zeros((*hw, 3), np.uint8)}):
            with Image.open(path) as picture:
                assert picture.size == shown


def test_the_command_makes_it_for_all_that_is_there_also_when_it_goes_on(trained, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def called(*arguments: object) -> None:
        given = ["infer.py", *arguments, "--checkpoint", trained, "--device", "cpu", "--out", out, "--tasks", "seg,depth"]
        monkeypatch.setattr(sys, "argv", [*map(str, given)])
        with pytest.raises(SystemExit) as exit_:
            infer()
        assert exit_.value.code == 0

    for name in ("one", "two"):
        Image.fromarray(RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    called(tmp_path / "one.png")
    assert not (out / "gallery.html").exists()
    called(tmp_path / "one.png", "--gallery", "--no-render")
    called(tmp_path / "one.png", tmp_path / "two.png", "--gallery", "--no-render")
    page = Page(out / "gallery.html")
    assert page.captions == ["one", "two"]
    assert {path.name for path in page.named()} == {f"{n}.{what}.jpg" for n in ("one", "two") for what in ("photo", "seg", "depth")}
    with Image.open(out / "one.seg.jpg") as own, Image.open(out / "gallery_files" / "one.seg.jpg") as shown:
        assert np.array_equal(np.array(own), np.array(shown))
    (out / "gallery_files" / "two.seg.jpg").unlink()
    called(tmp_path / "one.png", tmp_path / "two.png", "--gallery", "--no-render")
    assert (out / "gallery_files" / "two.seg.jpg").is_file(), "a picture that is gone is made again"
