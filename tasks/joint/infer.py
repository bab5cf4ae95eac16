"""Answer all tasks in one pass:  python tasks/joint/infer.py photo.jpg --checkpoint runs/joint/model.safetensors --out answers"""

from shared.infer.cli import infer

if __name__ == "__main__":
    infer()
