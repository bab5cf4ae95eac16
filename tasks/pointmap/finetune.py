"""Fine-tune pointmap:  torchrun --nproc_per_node 8 tasks/pointmap/finetune.py configs/pointmap/synthetic_nano.py lr=3e-4"""

from shared.engine.launch import finetune
from tasks.pointmap.task import Pointmap

if __name__ == "__main__":
    finetune(only=Pointmap)
