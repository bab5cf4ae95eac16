"""Answer normal:  python tasks/normal/infer.py photo.jpg folder/ --checkpoint runs/normal/model.safetensors --out answers"""

from shared.infer.cli import infer
from tasks.normal.task import Normal

if __name__ == "__main__":
    infer(only=Normal)
