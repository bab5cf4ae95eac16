"""Make rig.npz, once:  python -m shared.data.synthetic.bake [--out FILE] [--count N] [--seed S]

Needs `pip install anny` and torch, some 10 minutes and 5 GB of memory. Draws adults only, from 25 years on and of a plausible
height, and folds them into a few dozen directions of shape. `--again FILE` starts from the adults of an older rig instead, needs no
anny, finds the anchors anew and may keep fewer directions. Last digits differ between machines, so the file itself ships.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from shared.data.synthetic import anchors, rig

Array = np.ndarray
AXES = ("gender", "age", "african", "asian", "caucasian")
HEIGHT = (1.45, 2.02)  # metres, outside of which a drawn adult is dropped
DIRECTIONS = 48
PARTS = {  # of the rig <- groups of faces in MakeHuman's base mesh
    "body": "body",
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
    "tights": "helper-tights",
    "skirt": "helper-skirt",
}
MASKS = {"lips": "mpfb_lips.jpg", "ears": "mpfb_ears.jpg", "nails": "mpfb_fingernails.jpg", "mouth": "mpfb_inside-mouth.jpg"}
LEFT_ALONE = re.compile("genital|nipple|breast|bulge|foot|toe|penis|pregnant|hand-trans|finger")  # local changes that are not drawn


class Drawn(NamedTuple):
    """People in rest pose, N of them."""

    rest: Array  # (N,V,3) float32 metres
    heads: Array  # (N,B,3) float32
    facts: Array  # (N,5) float32, in the order of AXES


def grown(drawn: Drawn, skin: Array) -> Drawn:
    """The adults of plausible height among them, each set upon z = 0; skin (S,) are the body's vertices."""
    body = drawn.rest[:, skin, 2]
    tall = body.max(1) - body.min(1)
    kept = (drawn.facts[:, 1] >= rig.ADULT) & (tall >= HEIGHT[0]) & (tall <= HEIGHT[1])
    if kept.sum() < 2:
        raise ValueError(f"only {kept.sum()} of {len(kept)} drawn people are adults between {HEIGHT} m; draw more")
    ground = np.array([0, 0, 1], np.float32) * body[kept].min(1)[:, None, None]
    return Drawn(drawn.rest[kept] - ground, drawn.heads[kept] - ground, drawn.facts[kept])


def folded(drawn: Drawn, directions: int = DIRECTIONS) -> dict[str, Array]:
    """Mean and principal directions of their shapes: the part of the file that says who there may be."""
    vertices = drawn.rest.shape[1]
    flat = np.concatenate([drawn.rest, drawn.heads], 1).reshape(len(drawn.rest), -1).astype(np.float64)
    mean = flat.mean(0)
    flat -= mean
    power, mixed = np.linalg.eigh(flat @ flat.T)
    strongest = np.argsort(-power)[: min(directions, len(flat) - 1)]
    basis = (mixed[:, strongest].T @ flat) / np.sqrt(power[strongest])[:, None]
    coefficients = flat @ basis.T
    spread = coefficients.std(0)
    basis, coefficients = (basis * spread[:, None]).reshape(len(spread), -1, 3), coefficients / spread
    mean = mean.reshape(-1, 3)
    return {
        "mean": mean[:vertices].astype(np.float32),
        "heads_mean": mean[vertices:].astype(np.float32),
        "basis": (basis[:, :vertices] * 1000).astype(np.float16),  # millimetres, so that float16 is fine
        "heads_basis": basis[:, vertices:].astype(np.float32),
        "adults": coefficients.astype(np.float16),
        "facts": drawn.facts.astype(np.float32),
    }


def again(path: Path) -> tuple[Drawn, dict[str, Array]]:
    """The adults of an older rig, and what of its file does not depend on them."""
    old = rig.read(path)
    with np.load(path) as file:
        fixed = {key: file[key] for key in file.files if not key.startswith("anchor_")}
    rest = old.mean + np.tensordot(old.adults, old.basis.astype(np.float64), 1)
    heads = old.heads_mean + np.tensordot(old.adults, old.heads_basis, 1)
    return Drawn(rest.astype(np.float32), heads.astype(np.float32), old.facts.astype(np.float32)), fixed


def from_anny(count: int, seed: int) -> tuple[Drawn, dict[str, Array]]:
    """Adults drawn from MakeHuman's shape space as the package `anny` carries it."""
    try:
        import anny  # pyright: ignore[reportMissingImports]
        import torch
    except ImportError as error:
        raise SystemExit("baking from MakeHuman's shapes needs `pip install anny`; --again FILE starts from a baked rig") from error
    model = anny.Anny(topology="anny-full", phenotypes="all", local_changes="default", facial_actions="all").to(torch.float32)
    still = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)

    def shape(**arguments: Any) -> tuple[Array, Array]:
        with torch.no_grad():
            made = model(pose_parameters=still, **arguments)
        return made["rest_vertices"][0].numpy(), made["rest_bone_heads"][0].numpy()

    rest, heads, facts = [], [], []
    for rng in np.random.default_rng(seed).spawn(count):
        traits = _traits(list(model.phenotype_labels), rng)
        points, bones = shape(phenotype_kwargs=traits, local_changes_kwargs=_locals(list(model.local_change_labels), rng))
        rest.append(points.astype(np.float32))
        heads.append(bones.astype(np.float32))
        facts.append([traits[axis] for axis in AXES])
    middle = dict.fromkeys(model.phenotype_labels, 0.5) | {"age": rig.ADULT}
    plain, _ = shape(phenotype_kwargs=middle)
    names = list(model.facial_action_labels)
    moved = [shape(phenotype_kwargs=middle, facial_actions={name: 1.0})[0] - plain for name in names]
    data = Path(anny.__path__[0]) / "data"
    seen = torch.load(data / "keypoints" / "coco.pth", weights_only=True)
    fixed = {
        "expressions": (np.stack(moved) * 1000).astype(np.float16),
        "expression_names": np.array(names),
        "weight_bones": model.vertex_bone_indices.numpy().astype(np.uint8),
        "weights": model.vertex_bone_weights.numpy().astype(np.float16),
        "bones": np.array(model.bone_labels),
        "parents": np.array(model.bone_parents, np.int16),
        "regressor": np.stack([seen[name].numpy() for name in seen]).astype(np.float16),
        "regressor_names": np.array(list(seen)),
    }
    return Drawn(np.stack(rest), np.stack(heads), np.array(facts, np.float32)), fixed | _mesh(data / "mpfb2", len(plain))


def _traits(labels: list[str], rng: np.random.Generator) -> dict[str, float]:
    """What MakeHuman calls macro targets: 0..1 each. Age starts at 25 years."""
    traits = {label: float(rng.beta(1.6, 1.6)) for label in labels}
    traits["age"] = float(rng.uniform(rig.ADULT, 1))
    traits["gender"] = float(np.clip(rng.choice([0.05, 0.95]) + rng.normal(0, 0.07), 0, 1))
    traits |= dict(zip(AXES[2:], map(float, rng.dirichlet([0.5, 0.5, 0.5]))))
    traits |= {"cupsize": float(rng.uniform(0.2, 0.7)), "firmness": 0.6, "proportions": float(rng.uniform(0.4, 0.9))}
    traits |= {"height": float(rng.uniform(0.3, 0.7)), "weight": float(np.clip(rng.normal(0.48, 0.2), 0, 1))}
    return {label: value for label, value in traits.items() if label in labels}


def _locals(labels: list[str], rng: np.random.Generator) -> dict[str, float]:
    """A third of the local changes of face and body, -1..1, nearly alike left and right."""
    changes = {}
    for label in labels:
        if LEFT_ALONE.search(label) or label.startswith("r-") or rng.random() > 0.35:
            continue
        strength = rng.normal(0, 0.3)
        changes[label] = float(np.clip(strength, -1, 1))
        if label.startswith("l-") and "r-" + label[2:] in labels:
            changes["r-" + label[2:]] = float(np.clip(strength + rng.normal(0, 0.03), -1, 1))
    return changes


def _mesh(assets: Path, vertices: int) -> dict[str, Array]:
    """Faces by part, joints and painted masks of MakeHuman's base mesh."""
    group, uv, faces = "", [], []
    for line in (assets / "3dobjs" / "base.obj").read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "vt":
            uv.append([float(number) for number in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f" and group in PARTS.values():
            faces.append((group, [[int(n) - 1 for n in corner.split("/")[:2]] for corner in rest]))
    corners = np.array([face for _, face in faces])  # (Q,4,2): vertex, texture coordinate
    parts = list(PARTS)
    groups = json.loads((assets / "mesh_metadata" / "basemesh_vertex_groups.json").read_text())
    joints = [name for name in groups if name.startswith("joint-")]
    body = np.array([group == "body" for group, _ in faces])
    where, on = np.array(uv)[corners[body, :, 1].ravel()], corners[body, :, 0].ravel()
    painted = {name: _mask(assets / "textures" / file) for name, file in MASKS.items()}
    return {
        "quads": corners[:, :, 0].astype(np.uint16),
        "quad_parts": np.array([parts.index(next(p for p, g in PARTS.items() if g == group)) for group, _ in faces], np.uint8),
        "parts": np.array(parts),
        "joint_names": np.array([name.removeprefix("joint-") for name in joints]),
        "joint_first": np.array([groups[name][0][0] for name in joints], np.int32),
    } | {name: on_vertices(mask, where, on, vertices) for name, mask in painted.items()}


def _mask(path: Path) -> Array:
    """A painted mask (512,512), 0..255."""
    return cv2.resize(np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)), (512, 512), interpolation=cv2.INTER_AREA)


def on_vertices(mask: Array, where: Array, corners: Array, vertices: int) -> Array:
    """A painted mask (h,w) 0..255 read at the texture coordinates (n,2) of the faces' corners (n,) -> (V,) uint8."""
    h, w = mask.shape
    x, y = (np.clip(place.astype(int), 0, side - 1) for place, side in ((where[:, 0] * w, w), ((1 - where[:, 1]) * h, h)))
    total = np.bincount(corners, mask[y, x].astype(float), vertices)
    return np.round(total / np.maximum(np.bincount(corners, minlength=vertices), 1)).astype(np.uint8)


def save(path: Path, drawn: Drawn, fixed: dict[str, Array], directions: int = DIRECTIONS) -> None:
    """Fold the adults among the drawn, find the anchors on their mean and write the rig."""
    content = fixed | folded(grown(drawn, np.unique(fixed["quads"][fixed["quad_parts"] == 0])), directions)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "rig.npz"
        np.savez(bare, **content)  # pyright: ignore[reportArgumentType]
        curves = anchors.find(rig.read(bare))
    content |= {
        "anchor_names": np.array(list(curves)),
        "anchor_counts": np.array([len(vertices) for vertices, _ in curves.values()], np.int32),
        "anchor_vertices": np.concatenate([vertices for vertices, _ in curves.values()]).astype(np.uint16),
        "anchor_weights": np.concatenate([weights for _, weights in curves.values()]).astype(np.float32),
    }
    np.savez_compressed(path, **content)  # pyright: ignore[reportArgumentType]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=rig.FILE, help="where the rig goes")
    parser.add_argument("--count", type=int, default=1200, help="people drawn from anny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directions", type=int, default=DIRECTIONS, help="of shape that are kept")
    parser.add_argument("--again", type=Path, help="an older rig, instead of anny")
    asked = parser.parse_args()
    drawn, fixed = again(asked.again) if asked.again else from_anny(asked.count, asked.seed)
    save(asked.out, drawn, fixed, asked.directions)


if __name__ == "__main__":
    main()
