"""Score pointmap:  python tasks/pointmap/evaluate.py configs/pointmap/synthetic_nano.py --checkpoint model.safetensors"""

from shared.engine.evaluate import evaluate
from tasks.pointmap.task import Pointmap

if __name__ == "__main__":
    evaluate(only=Pointmap)
