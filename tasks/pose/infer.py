"""Answer pose:  python tasks/pose/infer.py photo.jpg folder/ --checkpoint runs/pose/model.safetensors --out answers"""

from shared.infer.cli import infer
from tasks.pose.task import Pose

if __name__ == "__main__":
    infer(only=Pose)
