"""Score normal:  python tasks/normal/evaluate.py configs/normal/synthetic_nano.py --checkpoint model.safetensors"""

from shared.engine.evaluate import evaluate
from tasks.normal.task import Normal

if __name__ == "__main__":
    evaluate(only=Normal)
