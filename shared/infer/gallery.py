"""The gallery of a run: one page on which each photo lies over its answers, with a slider between the two.

`gallery.html` needs `gallery_files/` beside it and nothing else: no server, no network, no library. The page shows whatever
pictures lie there, each with what its colours are called (`<photo>.<task>.json`), so that a run that went on, or was shared by
several processes, ends with a page of all.
"""

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import cv2
import numpy as np

from shared.data.photo import photo_size
from shared.data.tarindex import atomic
from shared.infer.writer import write
from shared.task import Legend

PAGE, PICTURES = "gallery.html", "gallery_files"
LONGEST = 1600  # pixels of a picture's longer side
PHOTO = "photo"


def exhibit(
    folder: Path, name: str, pictures: Mapping[str, np.ndarray], *, legends: Mapping[str, Legend] = MappingProxyType({})
) -> list[Path]:
    """Put pictures of a photo into the gallery, shrunk to 1600 pixels.

    Args:
        folder: of the answers.
        name: the photo's, may hold subfolders.
        pictures: `PHOTO`, or the name of a task -> (H,W,3) uint8 RGB.
        legends: name of a task -> what the colours in its picture are called, in order.
    """
    for what, legend in legends.items():
        if not legend:  # an earlier run may have seen something
            (folder / PICTURES / f"{name}.{what}.json").unlink(missing_ok=True)
    shown = {f"{what}.jpg": _shrunk(picture) for what, picture in pictures.items()}
    return write(folder / PICTURES, name, shown | {f"{what}.json": legend for what, legend in legends.items() if legend})


def make_page(folder: Path) -> Path:
    """Write the page of all pictures that are there; returns its path."""
    photos: dict[Path, dict[str, Path]] = {}  # path of a photo's pictures without suffixes -> what is shown -> picture
    for path in sorted((folder / PICTURES).rglob("*.jpg")):
        stem, _, what = path.stem.rpartition(".")
        photos.setdefault(path.parent / stem, {})[what] = path
    pairs = [_pair(folder, photo, pictures) for photo, pictures in photos.items() if PHOTO in pictures]
    tasks = list(dict.fromkeys(what for pictures in photos.values() for what in pictures if what != PHOTO))
    options = "".join(f"<option>{escape(task)}</option>" for task in tasks)
    everywhere = _EVERYWHERE.format(options=options) if len(tasks) > 1 and len(pairs) > 1 else ""
    title = f"{len(pairs)} photo{'' if len(pairs) == 1 else 's'}"
    with atomic(folder / PAGE) as file:  # several processes may write it at the same time
        file.write(_PAGE.format(title=title, everywhere=everywhere, pairs="\n".join(pairs)).encode())
    return folder / PAGE


def _shrunk(picture: np.ndarray) -> np.ndarray:
    H, W = picture.shape[:2]
    scale = LONGEST / max(H, W)
    if scale >= 1:
        return picture
    return cv2.resize(picture, (max(1, round(W * scale)), max(1, round(H * scale))), interpolation=cv2.INTER_AREA)


def _pair(folder: Path, photo: Path, pictures: dict[str, Path]) -> str:
    """One photo's part of the page."""
    height, width = photo_size(pictures[PHOTO])
    at = {what: escape(quote(os.fsencode(path.relative_to(folder).as_posix()))) for what, path in pictures.items()}
    seen = at.pop(PHOTO)
    legends = {what: found for what in at if (found := _read(pictures[what].with_suffix(".json")))}
    name = escape(os.fsencode(photo.relative_to(folder / PICTURES).as_posix()).decode("utf-8", "replace"))
    options = "".join(f'<option value="{address}">{escape(task)}</option>' for task, address in at.items())
    choice = f' <select aria-label="Answer for {name}">{options}</select>' if len(at) > 1 else ""
    first, address = next(iter(at.items()), ("no answer", seen))
    listed = "\n".join(_listed(what, legend, name, hidden=what != first) for what, legend in legends.items())
    about = {"choice": choice, "legends": listed, "width": width, "height": height}
    return _PAIR.format(name=name, photo=seen, answer=address, first=escape(first), **about)


def _read(path: Path) -> Legend:
    """A legend; where a picture has none, nothing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _listed(what: str, legend: Legend, name: str, *, hidden: bool) -> str:
    """The list of a picture's colours: a swatch and a name each. `name` is the photo's, escaped."""
    entries = "".join(
        f'<li><i style="background: rgb({int(r)} {int(g)} {int(b)})"></i>{escape(part.replace("_", " "))}</li>'
        for part, (r, g, b) in legend
    )
    about = f'data-of="{escape(what)}" aria-label="Colours of {escape(what)} in {name}"{" hidden" if hidden else ""}'
    return f'<ul class="legend" role="list" {about}>{entries}</ul>'


_PAIR = """<figure>
<figcaption><span title="{name}">{name}</span>{choice}</figcaption>
<div class="pair" style="--w: {width}; --h: {height}">
<img src="{photo}" alt="Photo {name}" loading="lazy" width="{width}" height="{height}">
<img class="answer" src="{answer}" alt="Answer for {name}" loading="lazy" width="{width}" height="{height}">
<input type="range" min="0" max="100" step="any" value="50" aria-label="How much of {name} is shown as photo">
<b class="edge"></b><b class="left">photo</b><b class="right">{first}</b>
</div>
{legends}
</figure>"""

_EVERYWHERE = """<label>Show everywhere <select id="everywhere"><option>as chosen</option>{options}</select></label>"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --card: light-dark(#f3f3f5, #1e1f22); --quiet: light-dark(#55565c, #a4a5ab); --ring: #2a7fff;
  font: 15px/1.45 system-ui, sans-serif; background: light-dark(#fff, #121315); }}
body {{ margin: 0 auto; padding: 1.25rem clamp(.75rem, 3vw, 2rem) 3rem; max-width: 1800px; }}
header {{ display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1.5rem; margin-bottom: 1.25rem; }}
h1 {{ font-size: 1.35rem; margin: 0; }}
header p {{ margin: 0; color: var(--quiet); flex: 1 1 24rem; }}
select {{ font: inherit; padding: .15rem .3rem; }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }}
figure {{ margin: 0; padding: .75rem; border-radius: .6rem; background: var(--card);
  display: flex; flex-direction: column; gap: .6rem; content-visibility: auto; contain-intrinsic-size: auto 34rem; }}
figcaption {{ display: flex; align-items: center; justify-content: space-between; gap: .75rem; min-height: 1.9rem; }}
figcaption span {{ overflow: hidden; overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }}
figcaption select {{ flex: none; }}
.pair {{ position: relative; margin: auto; --at: 50%; aspect-ratio: var(--w) / var(--h);
  width: min(100%, calc(76vh * var(--w) / var(--h)), max(calc(2px * var(--w)), 12rem)); }}
.pair img {{ position: absolute; inset: 0; width: 100%; height: 100%; border-radius: .25rem; }}
.pair .answer {{ clip-path: inset(0 0 0 var(--at)); }}
.pair input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; appearance: none;
  cursor: ew-resize; touch-action: pan-y; }}
.pair input::-webkit-slider-thumb {{ appearance: none; width: 1px; height: 100%; }}
.pair input::-moz-range-thumb {{ width: 1px; height: 100%; border: 0; }}
.pair b {{ position: absolute; pointer-events: none; font: 600 .75rem/1.4 system-ui, sans-serif; color: #fff; }}
.pair .left, .pair .right {{ top: .5rem; padding: .05rem .5rem; border-radius: 1rem; background: #000a; }}
.pair .left {{ left: .5rem; }}
.pair .right {{ right: .5rem; }}
.pair .edge {{ top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 0 1px #0006; }}
.pair .edge::after {{ content: ""; position: absolute; top: 50%; left: 50%; width: 1.4rem; height: 1.4rem; margin: -.7rem;
  border-radius: 50%; background: #fff; box-shadow: 0 1px 4px #0009; }}
.pair:has(~ .legend:not([hidden])) {{ margin-bottom: 0; }}
.legend {{ display: flex; flex-wrap: wrap; gap: .1rem .8rem; margin: 0 0 auto; padding: 0; list-style: none;
  font-size: .8rem; color: var(--quiet); }}
.legend[hidden] {{ display: none; }}
.legend li {{ display: flex; align-items: center; gap: .35rem; }}
.legend i {{ flex: none; width: .8rem; height: .8rem; border-radius: .2rem; box-shadow: 0 0 0 1px #8888;
  forced-color-adjust: none; }}
.pair input:focus-visible ~ .edge::after {{ background: var(--ring); box-shadow: 0 0 0 3px #fff, 0 0 0 5px var(--ring); }}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>The photo is on the left, the answer on the right: drag over a picture, or reach it with Tab and press the arrow keys.</p>
{everywhere}
</header>
<main>
{pairs}
</main>
<script>
function show(figure, choice) {{
  figure.querySelector(".answer").src = choice.value;
  figure.querySelector(".right").textContent = choice.textContent;
  for (const legend of figure.querySelectorAll(".legend")) legend.hidden = legend.dataset.of !== choice.textContent;
}}
document.addEventListener("input", event => {{
  const pair = event.target.closest(".pair");
  if (pair) pair.style.setProperty("--at", event.target.value + "%");
}});
document.addEventListener("change", event => {{
  const wanted = event.target.selectedOptions?.[0];
  if (!wanted) return;
  if (event.target.id !== "everywhere") return show(event.target.closest("figure"), wanted);
  for (const figure of document.querySelectorAll("figure")) {{
    const choice = [...figure.querySelectorAll("option")].find(one => one.textContent === wanted.textContent);
    if (!choice) continue;
    choice.selected = true;
    show(figure, choice);
  }}
}});
</script>
</body>
</html>
"""
