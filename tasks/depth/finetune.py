"""Fine-tune depth:  torchrun --nproc_per_node 8 tasks/depth/finetune.py configs/depth/synthetic_nano.py lr=3e-4"""

from shared.engine.launch import finetune
from tasks.depth.task import Depth

if __name__ == "__main__":
    finetune(only=Depth)
