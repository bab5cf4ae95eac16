"""Answer seg:  python tasks/seg/infer.py photo.jpg folder/ --checkpoint runs/seg/model.safetensors --out answers"""

from shared.infer.cli import infer
from tasks.seg.task import Seg

if __name__ == "__main__":
    infer(only=Seg)
