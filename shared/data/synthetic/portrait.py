"""People, things, light and a camera put together, and what is seen of them: one Sample for each seed.

The maps of a sample show everybody in the picture; its keypoints and its box are those of the main person.
"""

import functools
import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from shared.data.colour import srgb
from shared.data.fields import CORE, EXTRA, FIELDS, Sample
from shared.data.listing import FACTS
from shared.data.places import Places, places
from shared.data.synthetic import truth
from shared.data.synthetic.backdrop import Backdrop, Stage, backdrop
from shared.data.synthetic.camera import SHARES, Camera, place
from shared.data.synthetic.groups import Maker, gather, outline
from shared.data.synthetic.light import Light, light
from shared.data.synthetic.mesh import Array, Piece, soup
from shared.data.synthetic.people import Figure, figure
from shared.data.synthetic.picture import Sensor, expose, sensor
from shared.data.synthetic.rays import Rays
from shared.data.synthetic.render import CHUNK, Maps, World, render
from shared.data.synthetic.sky import photo

HIDDEN = 0.15  # of the most visible person: who shows less is not the main one
BEYOND = 0.35  # of the frame, on each side of it, where people still cast shadows into the picture
SMALL = 192  # pixels of the longer side up to which nobody sees how fine cloth and hair are cut
SHOTS = ("mix", *SHARES)
ON_PHOTO = 0.5  # share of pictures before a photo, where there are photos


class Setting(NamedTuple):
    """All decisions about a picture; nothing in it depends on its size."""

    people: list[Figure]  # the main person first, in the world
    shot: str
    camera: Camera
    backdrop: Backdrop
    lamp: Light
    sensor: Sensor
    seed: int | Sequence[int]


class View(NamedTuple):
    """A picture with its whole truth."""

    image: Array  # (H,W,3) uint8 RGB
    maps: Maps
    keypoints: Array  # (P,K,3) of every person: x px, y px, visibility
    points: Array  # (P,K,3) metres in camera space, x right, y down, z forward
    boxes: Array  # (P,4) x0 y0 x1 y1 px, NaN where nothing of the person is seen
    intrinsics: Array  # (4,) fx fy cx cy px
    main: int  # whose points and box a sample holds
    facts: dict[str, Any]  # see truth.py; people in the order of keypoints, points and boxes


def setting(
    seed: int | Sequence[int], *, shot: str = "mix", make: Maker = figure, photos: Places | None = None, kind: str | None = None
) -> Setting:
    """Draw everything about a picture but its pixels.

    Args:
        seed: of all chance; every concern has its own stream, so that one more draw here changes nothing there.
        shot: one of SHOTS.
        make: who draws a person; the rig's people unless told.
        photos: pictures that may stand behind people.
        kind: of the backdrop, one of backdrop.SHARES; any where absent.
    """
    if shot not in SHOTS:
        raise ValueError(f"there is no shot {shot!r}; there are {', '.join(SHOTS)}")
    shot_rng, people_rng, camera_rng, thing_rng, light_rng, sensor_rng, photo_rng = np.random.default_rng(seed).spawn(7)
    if shot == "mix":
        shot = str(shot_rng.choice(list(SHARES), p=list(SHARES.values())))
    count = int(shot_rng.choice([2, 3, 4], p=[0.5, 0.3, 0.2])) if shot == "group" else int(shot_rng.choice([1, 2], p=[0.85, 0.15]))
    people = gather(count, shot, people_rng, make)
    wanted = "full" if shot == "group" and camera_rng.random() < 0.5 else "upper" if shot == "group" else shot
    framed = np.concatenate([one.frames[wanted] for one in (people if shot == "group" else people[:1])])
    bodies = np.concatenate([outline(one) for one in people])
    camera = place(framed, bodies, shot=shot, ahead=people[0].ahead[shot], rng=camera_rng)
    if photos and photo_rng.random() < ON_PHOTO:
        picture = photos[int(photo_rng.integers(len(photos)))]
        behind = Backdrop("photo", [], photo(picture, camera, photo_rng))
    else:
        behind = backdrop(thing_rng, Stage(camera, bodies), kind=kind)
    lamp = light(light_rng, indoor=behind.kind not in ("street", "country"))
    return Setting(people, shot, camera, behind, lamp, sensor(sensor_rng), seed)


def look(what: Setting, hw: tuple[int, int], *, chunk: int = CHUNK) -> View:
    """The picture of hw pixels and its truth."""
    owned = [(piece, number) for number, one in enumerate(what.people) for piece in one.pieces]
    owned += [(piece, -1) for one in what.people for piece in one.things] + [(piece, -1) for piece in what.backdrop.pieces]
    scene = soup([_within(piece, what.camera, hw) for piece, _ in owned], [number for _, number in owned])
    rays = Rays(scene)
    maps = render(World(scene, rays, what.lamp, what.backdrop.sky), what.camera, hw, chunk=chunk)
    seen = [_keypoints(number, one, what.camera, rays, scene.person, hw) for number, one in enumerate(what.people)]
    points = [what.camera.view(one.keypoints).astype(np.float32) for one in what.people]
    boxes = [_box(maps.person == number) for number in range(len(what.people))]
    main = _main(maps.person, len(what.people))
    people = [
        truth.person(one, what.camera, points=at, visible=found[:, 2], box=box)
        for one, at, found, box in zip(what.people, points, seen, boxes)
    ]
    facts = truth.scene(
        seed=what.seed, shot=what.shot, backdrop=what.backdrop.kind, camera=what.camera, lamp=what.lamp, sensor=what.sensor
    )
    image = expose(maps.people, maps.behind, maps.alpha, what.sensor)
    intrinsics = what.camera.intrinsics(hw)
    facts |= {"main": main, "people": people}
    return View(image, maps, np.stack(seen), np.stack(points), np.stack(boxes), intrinsics, main, facts)


def sample(view: View, names: Sequence[str] = (*CORE, *EXTRA)) -> Sample:
    """Fields of FIELDS by name: maps of all people, points and box of the main one."""
    nobody = view.maps.person < 0
    found = {
        "image": view.image,
        "seg": view.maps.part,
        "depth": np.where(nobody, np.float32(np.nan), view.maps.depth),
        "normal": np.where(nobody[..., None], np.float32(np.nan), view.maps.normal),
        "keypoints": np.nan_to_num(np.round(view.keypoints[view.main], 3)),
        "box": view.boxes[view.main],
        "intrinsics": view.intrinsics,
        "person": view.maps.person + 1,
        "alpha": view.maps.alpha,
    }
    if "albedo" in names:
        found["albedo"] = srgb(view.maps.albedo)
    return {name: found[name].astype(FIELDS[name].dtype, copy=False) for name in names}


def point_map(view: View) -> Array:
    """Metres (H,W,3) in camera space, x right, y down, z forward; NaN where nothing was met."""
    h, w = view.maps.depth.shape
    fx, fy, cx, cy = view.intrinsics.astype(np.float32)
    z = np.where(np.isfinite(view.maps.depth), view.maps.depth, np.float32(np.nan))
    x, y = (np.arange(w, dtype=np.float32) - cx) / fx, (np.arange(h, dtype=np.float32) - cy) / fy
    return np.stack([x[None] * z, y[:, None] * z, z], -1)


def person(seed: int | Sequence[int], hw: tuple[int, int] = (256, 192), *, shot: str = "mix", photos: Path | None = None) -> Sample:
    """A random picture of people with every field that can be seen.

    The same seed shows the same people at every size (H, W), with cloth and hair cut coarser in pictures of at most SMALL pixels.
    """
    return sample(_seen(seed, hw, shot, photos))


def _seen(seed: int | Sequence[int], hw: tuple[int, int], shot: str, photos: Path | None) -> View:
    make = functools.partial(figure, coarse=max(hw) <= SMALL)
    return look(setting(seed, shot=shot, make=make, photos=places(str(photos)) if photos else None), hw)


def samples(
    count: int,
    *,
    seed: int,
    hw: tuple[int, int] = (256, 192),
    workers: int = 0,
    shot: str = "mix",
    photos: Path | None = None,
    start: int = 0,
    maps: Sequence[str] = (),
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Numbers start to count - 1 in order; number i is person((seed, i)) and its facts, however many processes share the work.

    Args:
        count: how many there would be from number 0.
        seed: of all of them.
        hw: their size.
        workers: processes; 0 draws in this one.
        shot: one of SHOTS.
        photos: a folder of pictures, or of shards of them, that may stand behind people.
        start: the first number wanted.
        maps: those of fields.EXTRA that are wanted beside the others.
    """
    if photos:
        places(str(photos))  # says at once when there are none
    jobs = (((seed, number), hw, shot, photos, (*CORE, *maps)) for number in range(start, count))
    if workers == 0:
        yield from ((f"{start + number:06d}", _job(job)) for number, job in enumerate(jobs))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        drawn: deque[Future[dict[str, Any]]] = deque()
        for number in itertools.count(start):
            # A bounded number in flight: a million people do not fit into memory.
            drawn += (pool.submit(_job, job) for job in itertools.islice(jobs, 8 * workers - len(drawn)))
            if not drawn:
                return
            yield f"{number:06d}", drawn.popleft().result()


def _job(job: tuple[tuple[int, int], tuple[int, int], str, Path | None, tuple[str, ...]]) -> dict[str, Any]:
    seed, hw, shot, photos, wanted = job
    view = _seen(seed, hw, shot, photos)
    return sample(view, wanted) | {FACTS: view.facts}


def _within(piece: Piece, camera: Camera, hw: tuple[int, int]) -> Piece:
    """The piece without what lies far outside the picture: tracing it would cost time and change next to nothing."""
    if len(piece.faces) < 2000:
        return piece
    seen = camera.view(piece.points).astype(np.float32)
    reach = np.abs(np.array(hw[::-1]) / camera.focal_px(hw) * (0.5 + BEYOND)).astype(np.float32)
    outside = np.any(np.abs(seen[:, :2]) > reach * np.maximum(seen[:, 2:], 0) + 0.1, axis=1)
    kept = np.flatnonzero(~np.all(outside[piece.faces], axis=1))
    if len(kept) == len(piece.faces):
        return piece
    used = np.zeros(len(piece.points), bool)
    used[piece.faces[kept]] = True
    return piece._replace(
        points=piece.points[used],
        normals=piece.normals[used],
        rest=piece.rest[used],
        extra=piece.extra[used],
        faces=(np.cumsum(used) - 1)[piece.faces[kept]].astype(np.int32),
        part=piece.part[kept],
    )


def _keypoints(number: int, one: Figure, camera: Camera, rays: Rays, people: Array, hw: tuple[int, int]) -> Array:
    """(K,3) x px, y px, visibility: inside the picture, and nothing but the person itself close before it."""
    known = np.asarray(np.isfinite(one.keypoints).all(axis=1))
    points = np.where(known[:, None], one.keypoints, camera.position + camera.rotation[2])
    xy = camera.pixels(points, hw)
    ways = points - camera.position
    z = ways @ camera.rotation[2]
    inside = (xy >= -0.5).all(1) & (xy < np.array(hw[::-1]) - 0.5).all(1) & (z > 0)
    hits = rays.first(camera.position, ways / np.maximum(z, 1e-6)[:, None])
    gap = (z - hits.depth) * np.linalg.norm(ways, axis=1) / np.maximum(z, 1e-6)  # how far before the point the ray ends
    mine = (hits.face >= 0) & (people[np.maximum(hits.face, 0)] == number)
    seen = known & inside & mine & (gap < one.tolerance)
    return np.concatenate([np.where(known[:, None], xy, np.nan), seen[:, None]], 1).astype(np.float32)


def _main(person: Array, count: int) -> int:
    """The first person, for whom the camera was placed, unless next to nothing of them is seen."""
    seen = np.bincount(person[person >= 0], minlength=count)
    return 0 if seen[0] > HIDDEN * seen.max() else int(seen.argmax())


def _box(mask: Array) -> Array:
    """x0 y0 x1 y1 px: the outer edges of a mask (H,W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.full(4, np.nan, np.float32)
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5], np.float32)
