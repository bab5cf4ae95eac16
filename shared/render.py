"""Pictures of answers: numpy in, numpy out. Every picture is RGB uint8 (H, W, 3) and a new array; nothing is drawn in place.

K is the number of classes or keypoints. Whatever is unknown is painted in one grey.
"""

from collections.abc import Sequence

import cv2
import numpy as np

Colours = Sequence[Sequence[int]] | np.ndarray  # K rows of RGB, 0 to 255
Links = Sequence[tuple[int, int]]  # ids of the two ends of each bone

UNKNOWN_GREY = 100
UNKNOWN_LABEL = 255
LABELS = 256  # values of a uint8
SHIFT = 4  # fractional bits of the coordinates given to OpenCV: sixteenths of a pixel
PAPER, INK = (250, 250, 250), (60, 60, 60)  # of contact sheets
INFERNO = np.ascontiguousarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1])


def blend(image: np.ndarray, colours: np.ndarray, alpha: float | np.ndarray) -> np.ndarray:
    """Lay one picture over another: (H,W,3) uint8.

    Args:
        image: (H,W,3) uint8, what lies below.
        colours: (H,W,3) uint8, what is laid over it.
        alpha: opacity of `colours` from 0 to 1, one number or (H,W).
    """
    image, colours = _rgb(image), _rgb(colours)
    if image.shape != colours.shape:
        raise ValueError(f"pictures of {image.shape[:2]} and {colours.shape[:2]} cannot be blended; resize one of them")
    if np.ndim(alpha) == 0:
        return cv2.addWeighted(colours, float(alpha), image, 1 - float(alpha), 0)
    over = np.ascontiguousarray(alpha, dtype=np.float32)
    if over.shape != image.shape[:2]:
        raise ValueError(f"the opacity has shape {over.shape}, the pictures {image.shape[:2]}; give one number per pixel")
    return cv2.blendLinear(colours, image, over, 1 - over)


def colour_labels(labels: np.ndarray, colours: Colours) -> np.ndarray:
    """Paint class ids (H,W) uint8 in the K colours of a table; 255 is grey."""
    table = np.full((LABELS, 3), UNKNOWN_GREY, np.uint8)
    table[: len(colours)] = _table(colours)
    stray = np.bincount(labels.ravel(), minlength=LABELS)[len(colours) : UNKNOWN_LABEL].nonzero()[0]
    if stray.size:
        raise ValueError(
            f"the labels hold class {stray[0] + len(colours)}, the table {len(colours)} colours; add the missing colours"
        )
    return table[labels]


def overlay_labels(
    image: np.ndarray,
    labels: np.ndarray,
    colours: Colours,
    *,
    alpha: float = 0.6,
    outlines: bool = True,
    background: int | None = 0,
) -> np.ndarray:
    """Lay class colours over the photo, with a firm line along every border: (H,W,3) uint8.

    Args:
        image: (H,W,3) uint8.
        labels: (H,W) uint8 class ids, 255 unknown.
        colours: K rows of RGB.
        alpha: opacity of the colours inside a region.
        outlines: draw the lines.
        background: the class that leaves the photo as it is; None for no such class.
    """
    painted = colour_labels(labels, colours)
    picture = blend(image, painted, alpha)
    if outlines:
        across = np.ones((3, 3), np.uint8)
        labels = np.ascontiguousarray(labels)
        border = (cv2.dilate(labels, across) != cv2.erode(labels, across)).astype(np.uint8)
        if (thickness := _stroke(min(labels.shape) / 900)) > 1:
            border = cv2.dilate(border, np.ones((thickness, thickness), np.uint8))
        cv2.copyTo(blend(painted, np.full_like(painted, 255), 0.25), border, picture)  # lighter, or dark classes get lost
    if background is not None:
        cv2.copyTo(_rgb(image), (labels == background).astype(np.uint8), picture)
    return picture


def colour_scalar(
    values: np.ndarray,
    known: np.ndarray | None = None,
    *,
    near_is_warm: bool = True,
    span: tuple[float, float] | None = None,
) -> np.ndarray:
    """Paint a depth map: bright yellow is nearest, black farthest, grey unknown: (H,W,3) uint8.

    Args:
        values: (H,W) float, small is near; the unit does not matter.
        known: (H,W) bool; whatever is not finite is unknown as well.
        near_is_warm: False turns the colours around.
        span: the values painted as nearest and farthest, the same for all frames of a video, say. Without it they are
            the 1st and the 99th percentile of what is known, so that a few wild values do not grey out the rest.
    """
    seen = np.isfinite(values) if known is None else np.isfinite(values) & known
    near, far = span or _robust_span(values[seen])
    if near > far:
        raise ValueError(f"the span runs from {near} down to {far}; give the nearest value first")
    farness = (np.clip(np.where(seen, values, near), near, far).astype(np.float32) - near) / ((far - near) or 1)
    level = 1 - farness if near_is_warm else farness
    picture = INFERNO[(level * 255).round().astype(np.uint8)]
    picture[~seen] = UNKNOWN_GREY
    return picture


def colour_normals(normals: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Paint (H,W,3) unit normals as (n + 1) / 2: right is red, up is green, toward the viewer is blue; unknown is grey."""
    seen = np.all(np.isfinite(normals), axis=-1)
    if known is not None:
        seen &= known
    clean = np.where(seen[..., None], normals, 0)
    picture = np.clip((clean + 1) * 127.5, 0, 255).round().astype(np.uint8)
    picture[~seen] = UNKNOWN_GREY
    return picture


def colour_points(points: np.ndarray) -> np.ndarray:
    """Paint camera points (H,W,3), z forward: the colours of depth, darker where the surface turns away; unknown is grey."""
    known = np.isfinite(points).all(-1) & (points[..., 2] > 0)
    points = np.where(known[..., None], points, np.nan)
    right, below = np.diff(points, axis=1, append=points[:, -1:]), np.diff(points, axis=0, append=points[-1:])
    facing = np.cross(right, below)
    length = np.linalg.norm(facing, axis=-1)
    there = length > 0  # not beside the unknown, nor at the last row and column: those are as bright as what faces us
    light = np.where(there, np.abs(facing[..., 2]) / np.where(there, length, 1), 1)
    painted = colour_scalar(points[..., 2], known)
    return blend(np.zeros_like(painted), painted, 0.35 + 0.65 * light.astype(np.float32))


def draw_keypoints(
    image: np.ndarray,
    keypoints: np.ndarray,
    links: Links,
    colours: Colours,
    *,
    threshold: float = 0.3,
    size_px: float | None = None,
) -> np.ndarray:
    """Draw people's keypoints and the bones between them: (H,W,3) uint8.

    Args:
        image: (H,W,3) uint8.
        keypoints: (K,3) or (P,K,3) x px, y px, score; a point shows when its score reaches the threshold.
        links: (id, id) for each bone; it shows when both its ends do.
        colours: K rows of RGB; each half of a bone has the colour of its end.
        threshold: the lowest score that is drawn.
        size_px: height of a person, which sets the width of the lines; without it, the extent of the points that show.
    """
    picture, table = _rgb(image).copy(), _table(colours)
    for person in keypoints if keypoints.ndim == 3 else [keypoints]:
        _draw_person(picture, person, links, table, threshold, size_px)
    return picture


def _draw_person(to: np.ndarray, points: np.ndarray, links: Links, table: np.ndarray, least: float, size_px: float | None) -> None:
    xy, score = points[:, :2], points[:, 2]
    # A bone to a point far outside is a mistake of the model, and would overflow OpenCV's integers.
    near = (np.abs(np.nan_to_num(xy, nan=np.inf)) < 8 * max(to.shape)).all(-1)
    shown = near & (score >= least)
    if not shown.any():
        return
    radii = np.zeros(len(xy))
    radii[shown] = _radii(xy[shown], size_px or _extent(xy[shown], to))
    fixed = np.where(shown[:, None], xy * (1 << SHIFT), 0).round().astype(int)
    bones = [(a, b, _stroke(0.9 * max(radii[a], radii[b]))) for a, b in links if shown[a] and shown[b]]
    for a, b, line in bones:
        if line > 2:  # a dark edge keeps bright bones legible on bright clothes; on thin lines it would be all there is
            edge = line + 2 * _stroke(0.28 * line)
            cv2.line(to, fixed[a].tolist(), fixed[b].tolist(), (25, 25, 25), edge, cv2.LINE_AA, SHIFT)
    for a, b, line in bones + [(b, a, line) for a, b, line in bones]:  # each end paints its half
        half = ((fixed[a] + fixed[b]) // 2).tolist()
        cv2.line(to, fixed[a].tolist(), half, table[a].tolist(), line, cv2.LINE_AA, SHIFT)
    for index in shown.nonzero()[0]:
        centre, radius = fixed[index].tolist(), float(radii[index])
        if radius >= 2.5:
            cv2.circle(to, centre, round((radius + _stroke(radius / 4)) * (1 << SHIFT)), (255, 255, 255), -1, cv2.LINE_AA, SHIFT)
        cv2.circle(to, centre, round(radius * (1 << SHIFT)), table[index].tolist(), -1, cv2.LINE_AA, SHIFT)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, *, alpha: float = 0.6) -> np.ndarray:
    """A thin white line with a dark rim around people, (P,4) x0 y0 x1 y1 px, through which the photo shows: (H,W,3) uint8."""
    lined, (H, W) = _rgb(image).copy(), image.shape[:2]
    for x0, y0, x1, y1 in boxes.astype(float):
        line = _stroke(max(x1 - x0, y1 - y0) / 400)
        low, high = np.array([[x0 + 0.5, y0 + 0.5], [x1 - 0.5, y1 - 0.5]]).clip(-line, [W, H]).round().astype(int).tolist()
        for colour, width in (((25, 25, 25), line + 2), ((255, 255, 255), line)):
            cv2.rectangle(lined, low, high, colour, width)
    return blend(image, lined, alpha)


def panel(pictures: Sequence[Sequence[np.ndarray]], titles: Sequence[Sequence[str]] | None = None, *, height: int) -> np.ndarray:
    """Lay pictures out as a contact sheet, rows of columns: (H,W,3) uint8.

    Args:
        pictures: rows of (H,W,3) uint8 pictures of any size; rows may have different lengths.
        titles: rows of words above the pictures; a shorter or an absent row leaves the rest without words.
        height: of one picture on the sheet, px; widths follow the pictures, up to three times the height.
    """
    if not any(len(row) for row in pictures):
        raise ValueError("the contact sheet has no pictures; give at least one row with one picture")
    cells = [[_fit(_rgb(picture), height) for picture in row] for row in pictures if len(row)]
    columns = max(map(len, cells))
    widths = [max(row[column].shape[1] for row in cells if column < len(row)) for column in range(columns)]
    gutter = max(2, height // 64)
    strips = []
    for index, row in enumerate(cells):
        words = list(titles[index]) if titles is not None and index < len(titles) else []
        if any(words):
            words += [""] * (columns - len(words))
            bars = [title_bar(word, width, height=max(14, height // 12)) for word, width in zip(words, widths)]
            strips.append(_row(bars, widths, gutter))
        strips += [_row(row, widths, gutter), _paper(gutter, sum(widths) + (columns + 1) * gutter)]
    return np.vstack([_paper(gutter, strips[0].shape[1]), *strips])


def title_bar(text: str, width: int, *, height: int = 24) -> np.ndarray:
    """A strip of paper (height, width, 3) with small words in its middle, cut with dots where they do not fit."""
    bar = _paper(height, width)
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, height / 38
    stroke = _stroke(height / 24)

    def length(words: str) -> int:
        return cv2.getTextSize(words, face, scale, stroke)[0][0]

    shown = text
    while shown and length(shown) > width:
        shown = shown.removesuffix("..")[:-1] and shown.removesuffix("..")[:-1] + ".."
    if shown:
        left, baseline = (width - length(shown)) // 2, round(height * 0.68)
        cv2.putText(bar, shown, (left, baseline), face, scale, INK, stroke, cv2.LINE_AA)
    return bar


def _rgb(image: np.ndarray) -> np.ndarray:
    """The picture, contiguous as OpenCV wants it."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture must be RGB uint8 (H, W, 3), this is {image.dtype} {image.shape}; convert it first")
    return np.ascontiguousarray(image)


def _table(colours: Colours) -> np.ndarray:
    """(K,3) uint8."""
    return np.asarray(colours, dtype=np.uint8).reshape(-1, 3)


def _stroke(width: float) -> int:
    return max(1, round(width))


def _robust_span(values: np.ndarray) -> tuple[float, float]:
    """1st and 99th percentile, from a million values at most: sorting a 4K picture costs a second and adds nothing."""
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values[:: 1 + values.size // 1_000_000].astype(np.float64), (1, 99))
    return float(low), float(high)


def _extent(xy: np.ndarray, picture: np.ndarray) -> float:
    """Size in px of a person of whom (K,2) points show; one point alone has no extent and takes a share of the picture."""
    return max(float(np.linalg.norm(np.ptp(xy, axis=0))), min(picture.shape[:2]) / 16)


def _radii(xy: np.ndarray, size_px: float) -> np.ndarray:
    """Radii in px that suit the size of the person and the distance to the next point: 243 points crowd a face. (K,2) -> (K,)."""
    apart = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    apart[np.diag_indices(len(xy))] = np.inf
    return np.maximum(0.8, np.minimum(size_px / 90, 0.4 * apart.min(1)))


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    """Scale to the height and keep the aspect; a picture wider than three heights is scaled to that width instead."""
    scale = min(height / picture.shape[0], 3 * height / picture.shape[1])
    size_wh = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _row(cells: list[np.ndarray], widths: list[int], gutter: int) -> np.ndarray:
    """Cells in the middle of their columns, gutters between and around them."""
    sheet = _paper(max(cell.shape[0] for cell in cells), sum(widths) + (len(widths) + 1) * gutter)
    left = gutter
    for cell, width in zip(cells, widths):
        top, start = (sheet.shape[0] - cell.shape[0]) // 2, left + (width - cell.shape[1]) // 2
        sheet[top : top + cell.shape[0], start : start + cell.shape[1]] = cell
        left += width + gutter
    return sheet
