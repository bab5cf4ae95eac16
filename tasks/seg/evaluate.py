"""Score seg:  python tasks/seg/evaluate.py configs/seg/synthetic_nano.py --checkpoint model.safetensors"""

from shared.engine.evaluate import evaluate
from tasks.seg.task import Seg

if __name__ == "__main__":
    evaluate(only=Seg)
