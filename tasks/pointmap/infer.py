"""Answer pointmap:  python tasks/pointmap/infer.py photo.jpg folder/ --checkpoint runs/pointmap/model.safetensors --out answers"""

from shared.infer.cli import infer
from tasks.pointmap.task import Pointmap

if __name__ == "__main__":
    infer(only=Pointmap)
