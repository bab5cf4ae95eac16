"""Score pose:  python tasks/pose/evaluate.py configs/pose/synthetic_nano.py --checkpoint model.safetensors"""

from shared.engine.evaluate import evaluate
from tasks.pose.task import Pose

if __name__ == "__main__":
    evaluate(only=Pose)
