"""How a person looks: colours of skin, hair, eyes and cloth, what is worn and how it is cut. Drawn from an rng; meshes elsewhere.

Always dressed by construction: a Look has a top and a bottom that are never None, and their cuts are clamped when the Look is made,
so that torso, hips and upper legs are covered whatever is drawn. Along a limb 0 is the shoulder (hip), 1 the elbow (knee) and 2 the
wrist (ankle). Colours are linear albedo.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.data.synthetic.dyes import WARDROBE, cloth, dye, eye_colour, hair_colour, skin_colour
from shared.data.synthetic.mesh import Material, material

Array = np.ndarray
STYLES = {  # hair -> how common with a feminine body, with a masculine one
    "short": (0.12, 0.40),
    "buzz": (0.02, 0.17),
    "bald": (0.01, 0.10),
    "bob": (0.20, 0.04),
    "long": (0.30, 0.06),
    "curly": (0.15, 0.15),
    "bun": (0.10, 0.03),
    "ponytail": (0.10, 0.05),
}
LEAST_LEG = 0.55  # how far down the upper leg every bottom reaches at least
LEAST_OVERLAP = 0.06  # metres that a top reaches below the waist of the bottom at least
DEEPEST_NECK = 0.09  # metres that the collar may be cut deeper in front
LOWEST_COLLAR = -0.04  # metres from the base of the neck
NONE = 9.0  # beyond the end of every limb
WAIST = 0.13  # metres above the hip joints where bottoms end


@dataclass(frozen=True)
class Top:
    """A shirt. Lengths in metres of the average body."""

    sleeve: float  # along the arm; below 0.2 a tank top
    neck_drop: float  # how much deeper the collar is cut in front
    neck_width: float  # half width of that cut
    collar: float  # height of the collar's border above the base of the neck, negative is wider
    hem: float  # height of the hem above the hip joints
    ease: float  # how far the cloth stands off
    tucked: bool
    cloth: Material

    def __post_init__(self):
        object.__setattr__(self, "neck_drop", min(self.neck_drop, DEEPEST_NECK))
        object.__setattr__(self, "collar", max(self.collar, LOWEST_COLLAR))
        object.__setattr__(self, "hem", min(self.hem, WAIST - LEAST_OVERLAP))
        object.__setattr__(self, "sleeve", max(self.sleeve, 0.1))


@dataclass(frozen=True)
class Bottom:
    """Trousers or shorts; with `skirt` above 0 they are the lining below a skirt of that length."""

    leg: float  # along the leg
    ease: float  # metres
    straight: float  # 0 follows the leg, 1 hangs from the thigh
    skirt: float  # metres below the waist; 0: none
    flare: float  # metres that the skirt's hem stands off
    pleats: int
    dress: bool  # the skirt is of one cloth with the top
    cloth: Material

    def __post_init__(self):
        object.__setattr__(self, "leg", max(self.leg, LEAST_LEG))


@dataclass(frozen=True)
class Jacket:
    """Worn over the top."""

    sleeve: float
    hem: float
    ease: float
    opening: float  # half width of the gap in front, metres; 0: closed
    cloth: Material


@dataclass(frozen=True)
class Feet:
    """Socks end at `sock` along the leg, shoes at `shoe` (NONE: there are none), on a sole of `sole` metres."""

    sock: float
    shoe: float
    sole: float
    sock_cloth: Material
    shoe_cloth: Material
    sole_colour: Material


@dataclass(frozen=True)
class Hair:
    """`style` is one of STYLES, `beard` none, stubble, moustache, short or full."""

    style: str
    length: float  # 1 is usual
    volume: float
    parting: float  # metres from the middle
    seed: int
    beard: str
    colour: Material
    facial: Material  # brows, lashes and beard


@dataclass(frozen=True)
class Extras:
    """Accessories; "" is none."""

    hat: str  # "", cap, beanie, brim
    glasses: str  # "", round, square, sun
    bag: str  # "", backpack, shoulder
    cloth: Material
    frame: Material
    lens: Material
    leather: Material


@dataclass(frozen=True)
class Look:
    """Everything about a person but body, face and pose."""

    skin: Material
    eye: Material
    teeth: Material
    tongue: Material
    top: Top
    bottom: Bottom
    jacket: Jacket | None
    feet: Feet
    hair: Hair
    extras: Extras
    wrinkles: float  # 0 ironed, 1 usual
    seed: int


def look(rng: np.random.Generator, *, feminine: float = 0.5, old: float = 0.3, dark: float | None = None) -> Look:
    """A random Look.

    Args:
        rng: spawned once per concern, so that one concern's draws do not disturb another's.
        feminine: 0..1, makes skirts, styles of hair and beards more or less likely.
        old: 0 young adult, 1 old; greys the hair.
        dark: 0 palest skin, 1 darkest; None draws it.
    """
    bodies, tops, bottoms, over, feet, heads, things = rng.spawn(7)
    feminine = float(np.clip(feminine, 0, 1))
    bottom = _bottom(bottoms, feminine)
    tone = bodies.random() if dark is None else dark
    colour = hair_colour(heads, old, tone)
    skin = skin_colour(bodies, tone)
    paint = 0.5 * bodies.random() * feminine  # lipstick
    return Look(
        skin=material(
            "skin",
            colour=skin,
            hair=colour,
            lip=skin * np.array([0.85, 0.55, 0.55]) * (1 - paint) + paint * np.array([0.5, 0.12, 0.13]),
            redness=bodies.uniform(0.5, 1.2),
            gloss=bodies.uniform(0.03, 0.1),
            seed=int(bodies.integers(1000)),
        ),
        eye=material("eye", colour=eye_colour(bodies, tone)),
        teeth=material("plain", colour=np.array([0.75, 0.72, 0.64]) * bodies.uniform(0.85, 1.05), gloss=0.5),
        tongue=material("plain", colour=np.array([0.50, 0.20, 0.18]), gloss=0.4),
        top=_top(tops, bottom),
        bottom=bottom,
        jacket=_jacket(over) if over.random() < 0.22 and not bottom.dress else None,
        feet=_feet(feet),
        hair=_hair(heads, feminine, colour),
        extras=_extras(things),
        wrinkles=tops.uniform(0.5, 1.5),
        seed=int(rng.integers(1 << 30)),
    )


def _top(rng: np.random.Generator, bottom: Bottom) -> Top:
    cut = rng.choice(["tank", "short", "elbow", "long"], p=[0.1, 0.42, 0.08, 0.4])
    sleeve = {"tank": 0.12, "short": rng.uniform(0.4, 0.75), "elbow": rng.uniform(0.9, 1.15), "long": rng.uniform(1.75, 1.95)}[cut]
    return Top(
        sleeve=sleeve,
        neck_drop=rng.uniform(0, DEEPEST_NECK) * (rng.random() < 0.6),
        neck_width=rng.uniform(0.04, 0.08),
        collar=rng.uniform(-0.035, 0.015) if rng.random() < 0.85 else 0.035,
        hem=rng.uniform(-0.12, 0.05),
        ease=rng.uniform(0.0, 1.0) ** 1.3 * 0.026 + 0.005,
        tucked=bool(rng.random() < 0.25) or bottom.skirt > 0,
        cloth=bottom.cloth if bottom.dress else cloth(rng),
    )


def _bottom(rng: np.random.Generator, feminine: float) -> Bottom:
    skirt = rng.random() < 0.4 * feminine**2
    denim = rng.random() < 0.35
    plain = rng.random() < 0.75
    leg = float(rng.choice([rng.uniform(0.55, 0.95), rng.uniform(1.3, 1.6), rng.uniform(1.82, 1.97)], p=[0.25, 0.07, 0.68]))
    return Bottom(
        leg=LEAST_LEG if skirt else leg,
        ease=rng.uniform(0.003, 0.018),
        straight=0.0 if skirt else rng.uniform(0, 1) ** 0.7,
        skirt=rng.uniform(0.42, 0.85) if skirt else 0.0,
        flare=rng.uniform(0.0, 0.07),
        pleats=int(rng.integers(8, 22)) if rng.random() < 0.6 else 0,
        dress=bool(skirt and rng.random() < 0.55),
        cloth=cloth(
            rng,
            WARDROBE[[4, 5, 0][rng.integers(3)]] * rng.uniform(0.7, 1.6) if denim and not skirt else None,
            ("heather" if denim else "plain") if plain and not skirt else None,
        ),
    )


def _jacket(rng: np.random.Generator) -> Jacket:
    return Jacket(
        sleeve=rng.uniform(1.75, 1.98),
        hem=rng.uniform(-0.25, 0.02),
        ease=rng.uniform(0.008, 0.03),
        opening=rng.uniform(0.02, 0.09) if rng.random() < 0.75 else 0.0,
        cloth=cloth(rng, None, "plain" if rng.random() < 0.7 else None),
    )


def _feet(rng: np.random.Generator) -> Feet:
    kind = rng.choice(["low", "boots", "socks", "bare"], p=[0.72, 0.12, 0.06, 0.1])
    socks = kind == "socks" or (kind == "low" and rng.random() < 0.75)
    light = rng.random() < 0.6
    return Feet(
        sock=float(rng.choice([1.5, 1.75, 1.86, 1.92])) if socks else NONE,
        shoe={"low": 1.955, "boots": rng.uniform(1.5, 1.85)}.get(str(kind), NONE),
        sole=rng.uniform(0.012, 0.03),
        sock_cloth=cloth(rng, np.full(3, rng.choice([0.02, 0.1, 0.35, 0.75])), str(rng.choice(["plain", "plain", "stripe"]))),
        shoe_cloth=cloth(
            rng, WARDROBE[rng.choice([0, 0, 0, 1, 2, 8])] * rng.uniform(0.7, 1.2) if rng.random() < 0.75 else None, "plain"
        ),
        sole_colour=material("plain", colour=np.full(3, rng.uniform(0.5, 0.75) if light else rng.uniform(0.015, 0.1)), gloss=0.15),
    )


def _hair(rng: np.random.Generator, feminine: float, colour: Array) -> Hair:
    names = list(STYLES)
    chance = np.array([a * feminine + b * (1 - feminine) for a, b in STYLES.values()])
    bearded = rng.random() < 0.55 * (1 - feminine) ** 2
    beard = str(rng.choice(["stubble", "moustache", "short", "full"], p=[0.35, 0.1, 0.3, 0.25]))
    return Hair(
        style=str(rng.choice(names, p=chance / chance.sum())),
        length=rng.uniform(0.7, 1.35),
        volume=rng.uniform(0.7, 1.4),
        parting=float(rng.choice([-0.03, 0.0, 0.03])),
        seed=int(rng.integers(1 << 30)),
        beard=beard if bearded else "none",
        colour=material("hair", colour=colour, gloss=rng.uniform(0.05, 0.2)),
        facial=material("hair", colour=colour * rng.uniform(0.5, 0.9), gloss=0.05),
    )


def _extras(rng: np.random.Generator) -> Extras:
    def one_of(share: float, *names: str) -> str:
        drawn, name = rng.random(), str(rng.choice(names))
        return name if drawn < share else ""

    glasses = one_of(0.18, "round", "square", "square", "sun")
    shade: Any = np.full(3, 0.02) if glasses == "sun" else np.full(3, 0.6)
    return Extras(
        hat=one_of(0.12, "cap", "beanie", "brim"),
        glasses=glasses,
        bag=one_of(0.14, "backpack", "shoulder"),
        cloth=cloth(rng, None, None),
        frame=material("plain", colour=np.full(3, rng.uniform(0.01, 0.2)) if rng.random() < 0.8 else dye(rng), gloss=0.6),
        lens=material("plain", colour=shade, gloss=0.9),
        leather=cloth(rng, None, "plain"),
    )
