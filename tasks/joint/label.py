"""Label pictures for a student:  python tasks/joint/label.py data/photos --checkpoint teacher.safetensors --out data/labelled"""

from shared.infer.label import run

if __name__ == "__main__":
    run()
