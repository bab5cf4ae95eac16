"""The gallery of a run: one page on which each photo lies over its answers, with a slider between the two.

`gallery.html` needs `gallery_files/` beside it and nothing else: no server, no network, no library. The page shows whatever
pictures lie there, so that a run that went on, or was shared by several processes, ends with a page of all.
"""

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from shared.data.tarindex import atomic
from shared.infer.writer import write

PAGE, PICTURES = "gallery.html", "gallery_files"
LONGEST = 1600  # pixels of a picture's longer side
PHOTO = "photo"


def exhibit(folder: Path, name: str, pictures: Mapping[str, np.ndarray]) -> list[Path]:
    """Put pictures of a photo into the gallery, shrunk to 1600 pixels.

    Args:
        folder: of the answers.
        name: the photo's, may hold subfolders.
        pictures: `PHOTO`, or the name of a task -> (H,W,3) uint8 RGB.
    """
    return write(folder / PICTURES, name, {f"{what}.jpg": _shrunk(picture) for what, picture in pictures.items()})


def make_page(folder: Path) -> Path:
    """Write the page of all pictures that are there; returns its path."""
    photos: dict[Path, dict[str, Path]] = {}  # path of a photo's pictures without suffixes -> what is shown -> picture
    for path in sorted((folder / PICTURES).rglob("*.jpg")):
        stem, _, what = path.stem.rpartition(".")
        photos.setdefault(path.parent / stem, {})[what] = path
    pairs = [_pair(folder, photo, pictures) for photo, pictures in photos.items() if PHOTO in pictures]
    with atomic(folder / PAGE) as file:  # several processes may write it at the same time
        file.write(_PAGE.format(count=len(pairs), pairs="\n".join(pairs)).encode())
    return folder / PAGE


def _shrunk(picture: np.ndarray) -> np.ndarray:
    H, W = picture.shape[:2]
    scale = LONGEST / max(H, W)
    if scale >= 1:
        return picture
    return cv2.resize(picture, (max(1, round(W * scale)), max(1, round(H * scale))), interpolation=cv2.INTER_AREA)


def _pair(folder: Path, photo: Path, pictures: dict[str, Path]) -> str:
    """One photo's part of the page."""
    at = {what: escape(quote(os.fsencode(path.relative_to(folder).as_posix()))) for what, path in pictures.items()}
    seen = at.pop(PHOTO)
    name = escape(os.fsencode(photo.relative_to(folder / PICTURES).as_posix()).decode("utf-8", "replace"))
    choices = "".join(f'<option value="{address}">{escape(task)}</option>' for task, address in at.items())
    return _PAIR.format(name=name, photo=seen, answer=next(iter(at.values()), seen), choices=choices)


_PAIR = """<figure style="--at: 50%">
<figcaption><span>{name}</span> <select aria-label="Answer for {name}">{choices}</select></figcaption>
<div class="pair">
<img src="{photo}" alt="Photo {name}" loading="lazy">
<img class="answer" src="{answer}" alt="Answer for {name}" loading="lazy">
<input type="range" min="0" max="100" value="50" aria-label="How much of {name} is shown as photo">
<span class="edge"></span>
</div>
</figure>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gallery</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 1600px; }}
main {{ display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); align-items: start; }}
figure {{ margin: 0; }}
figcaption {{ display: flex; justify-content: space-between; gap: 1rem; margin-bottom: .3rem; }}
figcaption span {{ overflow-wrap: anywhere; }}
.pair {{ position: relative; }}
.pair img {{ display: block; width: 100%; }}
.pair .answer {{ position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at)); }}
.pair input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  touch-action: pan-y; }}
.edge {{ position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 0 1px #0008; pointer-events: none; }}
.pair input:focus-visible + .edge {{ outline: 3px solid #2a7fff; }}
</style>
</head>
<body>
<h1>{count} photos</h1>
<p>Drag over a photo, or reach it with Tab and press the arrow keys: the photo is on the left, the answer on the right.</p>
<main>
{pairs}
</main>
<script>
document.addEventListener("input", event => {{
  const figure = event.target.closest("figure");
  if (event.target.type === "range") figure.style.setProperty("--at", event.target.value + "%");
}});
document.addEventListener("change", event => {{
  if (event.target.tagName === "SELECT") event.target.closest("figure").querySelector(".answer").src = event.target.value;
}});
</script>
</body>
</html>
"""
