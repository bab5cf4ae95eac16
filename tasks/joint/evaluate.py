"""Score all tasks:  python tasks/joint/evaluate.py configs/joint/synthetic_nano.py --checkpoint runs/joint/model.safetensors"""

from shared.engine.evaluate import evaluate

if __name__ == "__main__":
    evaluate()
