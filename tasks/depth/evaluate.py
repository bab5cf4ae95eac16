"""Score depth:  python tasks/depth/evaluate.py configs/depth/synthetic_nano.py --checkpoint model.safetensors"""

from shared.engine.evaluate import evaluate
from tasks.depth.task import Depth

if __name__ == "__main__":
    evaluate(only=Depth)
