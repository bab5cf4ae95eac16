"""One person made of geometry, seen once: picture, parts, depth, normals and keypoints that agree exactly."""

import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from shared.data.fields import CORE, FIELDS, Sample
from shared.data.geometric import fabric
from shared.data.geometric.camera import FRAMINGS, SHARES, Camera, Framing, look_at
from shared.data.geometric.figure import Figure, figure, stool
from shared.data.geometric.scene import backdrop, expose, obstacle, shade
from shared.data.geometric.shapes import Array, Solid, cast, first_hits, unit

ON_SURFACE = 0.004  # metres a point of the face may lie behind what its ray meets
UNDER_HAIR = 0.03  # metres; COCO labels eyes, ears and nose through hair and glasses


class Setting(NamedTuple):
    """Who stands before which camera, and what is in the way; everything but the pixels."""

    who: Figure
    camera: Camera
    solids: list[Solid]  # the person, view space
    things: list[Solid]  # of the background, view space
    painters: list[np.random.Generator]  # of the backdrop, the light and the sensor


def setting(seed: int | Sequence[int]) -> Setting:
    """All decisions about a picture that do not depend on its size."""
    body_rng, camera_rng, thing_rng, *painters = np.random.default_rng(seed).spawn(6)
    framing = FRAMINGS[camera_rng.choice(len(FRAMINGS), p=SHARES)]
    who = figure(body_rng, turn=_turn(camera_rng, framing), calm=framing.name == "face")
    framed = _framed(who, framing)
    camera = look_at(framed, framing, camera_rng)
    translation = -camera.rotation @ camera.position
    solids = [solid.moved(camera.rotation, translation) for solid in who.solids]
    return Setting(who, camera, solids, _things(thing_rng, who, camera, framed), painters)


def person(seed: int | Sequence[int], hw: tuple[int, int] = (256, 192)) -> Sample:
    """A random person, with every field of CORE; the same seed shows the same person at every size (H, W)."""
    who, camera, solids, things, (scene_rng, light_rng, sensor_rng) = setting(seed)
    rays = camera.rays(hw)
    index, depth = cast(solids + things, rays)
    feet = np.stack([who.frames[f"{side}_ankle"][1] for side in ("left", "right")])
    picture = backdrop(scene_rng, camera, hw, feet=feet)
    seg, normal = np.zeros(hw, np.uint8), np.full((*hw, 3), np.nan, np.float32)
    _paint(solids + things, index, (rays, depth), (picture, seg, normal), light_rng)
    on_person = seg > 0
    depth[~on_person], normal[~on_person] = np.nan, np.nan
    sample = {
        "image": expose(picture, sensor_rng),
        "seg": seg,
        "depth": depth,
        "normal": normal,
        "keypoints": _keypoints(who, camera, solids, things, on_person),
        "box": _box(on_person),
        "intrinsics": camera.intrinsics(hw),
    }
    return {name: sample[name].astype(FIELDS[name].dtype, copy=False) for name in CORE}


def samples(count: int, *, seed: int, hw: tuple[int, int] = (256, 192), workers: int = 0) -> Iterator[tuple[str, Sample]]:
    """`count` numbered people in order; number i is person((seed, i)) however many processes share the work."""
    jobs = (((seed, number), hw) for number in range(count))
    if workers == 0:
        yield from ((f"{number:06d}", _job(job)) for number, job in enumerate(jobs))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for first in itertools.count(step=8 * workers):  # a bounded number in flight: a million people do not fit into memory
            if not (some := list(itertools.islice(jobs, 8 * workers))):
                return
            yield from ((f"{first + number:06d}", sample) for number, sample in enumerate(pool.map(_job, some)))


def _job(job: tuple[tuple[int, int], tuple[int, int]]) -> Sample:
    return person(*job)


def _turn(rng: np.random.Generator, framing: Framing) -> float:
    """Degrees a person is turned away from the camera: mostly facing it, sometimes in profile or from behind."""
    widest = 45.0 if framing.name == "face" else 55.0
    shares = (0.8, 0.15, 0.05) if framing.name == "face" else (0.55, 0.22, 0.23)
    low, high = ((0, widest), (widest, 115), (115, 180))[rng.choice(3, p=shares)]
    return float(rng.uniform(low, high) * rng.choice((-1, 1)))


def _framed(who: Figure, framing: Framing) -> Array:
    """World points (N,3) that the camera should have in its frame."""
    rotation, origin = who.frames["head"]
    size = who.build.head
    ball = np.array([(x, y, z) for x in (-0.09, 0.09) for y in (-0.12, 0.13) for z in (-0.11, 0.1)]) * size
    skull = ball @ rotation.T + origin
    if framing.name == "face":
        return skull
    if framing.name == "upper":
        return np.concatenate([skull, who.joints[5:7], who.joints[11:13]])
    ends = [turned @ (0, -0.16, 0) + at for name, (turned, at) in who.frames.items() if name.endswith("wrist")]
    ends += [turned @ (0, -0.08, 0.14) + at for name, (turned, at) in who.frames.items() if name.endswith("ankle")]
    return np.concatenate([skull, who.joints[5:], np.array(ends)])


def _things(rng: np.random.Generator, who: Figure, camera: Camera, framed: Array) -> list[Solid]:
    """What is sat upon or in the way of framed points (N,3) of the world; it belongs to the background. View space."""
    seat_rng, front_rng = rng.spawn(2)
    things = []
    if who.pose == "sitting":
        things.append(
            stool(who, fabric.plain(0, fabric.woven(seat_rng))).moved(camera.rotation, -camera.rotation @ camera.position)
        )
    if front_rng.random() < 0.22:
        things.append(obstacle(front_rng, camera.view(framed)))
    return things


def _paint(
    solids: list[Solid], index: Array, met_at: tuple[Array, Array], maps: tuple[Array, Array, Array], rng: np.random.Generator
) -> None:
    """Fill maps (picture (H,W,3), seg (H,W), normal (H,W,3)) wherever the rays (H,W,3) met a solid at a depth (H,W)."""
    flat = index.ravel()
    met = np.flatnonzero(flat >= 0)
    met = met[np.argsort(flat[met], kind="stable")]
    rays, depth = (values.reshape(index.size, -1)[met] for values in met_at)
    picture, seg, normal = maps
    bounds = np.searchsorted(flat[met], np.arange(len(solids) + 1))
    found, albedo = np.empty((len(met), 3), np.float32), np.empty((len(met), 3), np.float32)
    classes, at = np.empty(len(met), np.uint8), rays * depth
    toward = -unit(at)
    for number, solid in enumerate(solids):
        mine = slice(bounds[number], bounds[number + 1])
        if mine.start == mine.stop:
            continue
        found[mine] = solid.normal(at[mine])
        classes[mine], albedo[mine] = solid.paint(solid.local(at[mine]))
    facing = (found * toward).sum(1, keepdims=True)
    found = unit(found + np.maximum(1e-3 - facing, 0) * toward)  # at the very outline rounding may turn a normal away
    picture.reshape(-1, 3)[met] = shade(albedo, found, toward, rng)
    seg.ravel()[met] = classes
    normal.reshape(-1, 3)[met] = found


def _keypoints(who: Figure, camera: Camera, solids: list[Solid], things: list[Solid], on_person: Array) -> Array:
    """All keypoints (255,3): x px, y px, visibility."""
    view = camera.view(np.concatenate([who.joints, who.face]))
    depth = -view[:, 2]
    ahead = depth > 0.05
    xy = camera.pixels(np.where(ahead[:, None], view, (0, 0, -1)), on_person.shape)
    rays = (view / np.where(ahead, depth, 1)[:, None]).astype(np.float32)
    index, met = first_hits(solids + things, rays)
    free = index < len(solids)
    # The body's joints lie inside: only what is no part of the person hides them.
    seen = ahead & (free | (met > depth))
    normals = np.concatenate([np.zeros((17, 3)), who.normals]) @ camera.rotation.T
    facing = (normals * -unit(view)).sum(1)
    skull = (index >= who.skull.start) & (index < who.skull.stop)
    seen[17:] &= (skull & (met > depth - ON_SURFACE) & (facing > 0.12))[17:]
    same = [
        int(np.argmin(np.abs(who.face - joint).sum(1))) + 17 for joint in who.joints[:5]
    ]  # nose, eyes, ears are points of the face
    seen[:5] &= (free & (met > depth - UNDER_HAIR))[same] & (facing[same] > 0.05)
    column, row = np.round(np.clip(xy, -2, 1e6)).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < on_person.shape[1]) & (row < on_person.shape[0])
    wide = cv2.dilate(on_person.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    seen &= inside
    seen[seen] &= wide[row[seen], column[seen]]
    return np.concatenate([xy, seen[:, None]], 1).astype(np.float32)


def _box(on_person: Array) -> Array:
    """The tight box x0 y0 x1 y1 px around the pixels, edges included; NaN without any."""
    if not on_person.any():
        return np.full(4, np.nan, np.float32)
    rows, columns = np.flatnonzero(on_person.any(1)), np.flatnonzero(on_person.any(0))
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5], np.float32)
