"""How Sapiens' configs for pose change a person's view (specification, section 3.4); imported after another base."""

from shared.data.half import HalfBody
from shared.data.occlusion import Occlusion
from shared.data.photometric import Photometric
from shared.data.view import Jitter

half_body = dict(type=HalfBody, probability=0.3, least=9, upper=0.7, padding=1.5)
jitter = dict(type=Jitter, scale=(2 / 3, 2.0), degrees=80.0, shift=0.16, turned=0.6, moved=0.3, bell=True, fewest=8)
photometric = dict(type=Photometric, shuffle=0.5)
occlusion = dict(type=Occlusion, probability=1.0, count=1, extent=(0.2, 0.4))
