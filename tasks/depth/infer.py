"""Answer depth:  python tasks/depth/infer.py photo.jpg folder/ --checkpoint runs/depth/model.safetensors --out answers"""

from shared.infer.cli import infer
from tasks.depth.task import Depth

if __name__ == "__main__":
    infer(only=Depth)
