"""People found by a detector: torchvision's by name, transformers' from a folder, one interface for both.

Nothing is fetched unasked: weights lie in the cache of torch.hub or of huggingface_hub, or at a path. A network that finds people
is a callable: (h,w,3) uint8 RGB -> boxes (n,4) x0 y0 x1 y1, pixels counted from the picture's corner as COCO does, and scores (n,).
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from shared import weights
from shared.infer.people import People

log = logging.getLogger(__name__)
Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

TORCHVISION = (  # whose weights know COCO's 91 labels, best first by box AP on val2017 as torchvision tells it: 46.7 ... 21.3
    "fasterrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
)
USUAL = TORCHVISION[0]
PERSON = 1  # of COCO's labels in torchvision; transformers' models name theirs
SCORE = 0.5  # sure as not; Sapiens' demos take 0.3 of RTMDet (specification: sapiens1.md, section 7)
OVERLAP = 0.5  # intersection over union; torchvision's own limit. Sapiens' 0.3 loses people who embrace
MOST = 100  # RTMDet's limit in Sapiens' demos
LONGEST = 1333  # pixels; no detector of these looks at a longer side
INSTEAD = "or give boxes with --people BOXES.json, or --people whole"


class Detector:
    """The finder that looks: the surest boxes first, those left out that show somebody once more.

    Args:
        network: finds people, see above.
        score: who is less sure is nobody.
        overlap: of two boxes that share more of their union than this, the surer stays.
        most: people of one picture; where more are found, the surest stay, with a warning.
        longest: side of the picture that the network gets, pixels; a larger one is shrunk by averages.
    """

    def __init__(
        self, network: Network, *, score: float = SCORE, overlap: float = OVERLAP, most: int = MOST, longest: int = LONGEST
    ) -> None:
        if not 0 <= score <= 1:
            raise ValueError(f"--people-score {score:g} is no score; write a number from 0 to 1")
        self.network, self.score, self.overlap, self.most, self.longest = network, score, overlap, most, longest

    @classmethod
    def load(cls, what: str = USUAL, *, device: torch.device | str = "cpu", **options: Any) -> "Detector":
        """By a name of torchvision's, the path of weights that begins with such a name, or a folder (or OWNER/REPO in the cache) of
        transformers'.

        Args:
            what: see above.
            device: where it runs.
            options: of the class.

        Raises:
            ValueError: there is no such detector or no weights, or it does not know people.
        """
        path = Path(what).expanduser()
        if what in TORCHVISION:
            return cls(_torchvision(what, _cached(what), device), **options)
        if path.is_file():
            return cls(_torchvision(_named(path), path, device), **options)
        if path.is_dir() or (what.count("/") == 1 and path.suffix not in (".pth", ".pt", ".safetensors")):
            return cls(_transformers(str(path) if path.is_dir() else what, device), **options)
        raise ValueError(f"there is no detector {what!r}; --detector is a file, a folder, or one of {', '.join(TORCHVISION)}")

    def __call__(self, name: str, image: np.ndarray) -> People:
        """Who is in the picture, the surest first.

        Raises:
            ValueError: the network failed on this picture.
        """
        H, W = image.shape[:2]
        scale = min(1.0, self.longest / max(H, W))
        h, w = max(1, round(H * scale)), max(1, round(W * scale))
        small = image if scale == 1 else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        try:
            boxes, scores = self.network(np.ascontiguousarray(small))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"the detector failed on a picture of {H}x{W} ({reason}); try another one, {INSTEAD}") from error
        boxes = boxes.astype(np.float64) * np.array([W / w, H / h, W / w, H / h]) - 0.5  # edges of pixels: centres are integers
        boxes = boxes.clip(-0.5, np.array([W, H, W, H]) - 0.5)
        there = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1) & (scores >= self.score)
        people = People(boxes[there], scores[there])
        people = people[_apart(people, self.overlap)]
        if len(people) > self.most:
            log.warning("%s: %d people were found, the %d surest are looked at", name, len(people), self.most)
        return people[np.arange(min(len(people), self.most))]


def _apart(people: People, overlap: float) -> np.ndarray:
    """Ids of who stays, the surest first."""
    nms = _vision().ops.nms
    return nms(torch.from_numpy(people.boxes), torch.from_numpy(people.scores), overlap).numpy()


def _vision() -> Any:
    """torchvision, imported when somebody is looked for."""
    try:
        import torchvision
    except ImportError as error:
        raise ValueError(f"looking for people needs torchvision ({error}); pip install torchvision, {INSTEAD}") from error
    return torchvision


def _cached(name: str) -> Path:
    """Where torch.hub keeps the weights of one of torchvision's."""
    url = _vision().models.get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        fetch = f"from torchvision.models import get_model as get; get('{name}', weights='DEFAULT')"
        raise ValueError(
            f'there are no weights of the detector {name}: no file {path}; fetch them once, python -c "{fetch}", {INSTEAD}'
        )
    return path


def _named(path: Path) -> str:
    """Whose weights a file holds: torchvision's files begin with the name."""
    for name in sorted(TORCHVISION, key=len, reverse=True):
        if path.name.startswith(name):
            return name
    raise ValueError(f"{path.name} does not say which detector it belongs to; its name should begin with one of "
                     f"{', '.join(TORCHVISION)}, as torchvision's files do")  # fmt: skip


def _torchvision(name: str, path: Path, device: torch.device | str) -> Network:
    model = _vision().models.get_model(name, weights=None, weights_backbone=None)
    try:
        model.load_state_dict(weights.read(path).tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} holds no weights of {name}: {reason}; fetch them again, {INSTEAD}") from error
    model.to(device).eval()

    @torch.inference_mode()
    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = torch.from_numpy(image).to(device).permute(2, 0, 1).float() / 255
        found = model([seen])[0]
        person = found["labels"] == PERSON
        return found["boxes"][person].cpu().numpy(), found["scores"][person].cpu().numpy()

    return find


def _transformers(what: str, device: torch.device | str) -> Network:
    try:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection
    except ImportError as error:
        raise ValueError(f"the detector {what} needs transformers ({error}); pip install transformers, {INSTEAD}") from error
    try:
        model = AutoModelForObjectDetection.from_pretrained(what, local_files_only=True, dtype=torch.float32)
        processor = AutoImageProcessor.from_pretrained(what, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{what} is no detector of transformers, neither as a folder nor in the cache ({reason}); "
            f"fetch it once, hf download {what}, {INSTEAD}"
        ) from error
    persons = [label for label, word in model.config.id2label.items() if word.lower() == "person"]
    if not persons:
        words = ", ".join(list(model.config.id2label.values())[:5])
        raise ValueError(f"the detector {what} does not know people: its labels are {words}, ...; give another one, {INSTEAD}")
    wanted = torch.tensor(persons)
    model.to(device).eval()

    @torch.inference_mode()
    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = processor(images=image, return_tensors="pt", input_data_format="channels_last").to(device)
        answer = processor.post_process_object_detection(model(**seen), threshold=0.0, target_sizes=[image.shape[:2]])[0]
        person = torch.isin(answer["labels"].cpu(), wanted)
        return answer["boxes"].cpu().numpy()[person], answer["scores"].cpu().numpy()[person]

    return find
