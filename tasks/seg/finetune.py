"""Fine-tune seg:  torchrun --nproc_per_node 8 tasks/seg/finetune.py configs/seg/synthetic_nano.py lr=3e-4"""

from shared.engine.launch import finetune
from tasks.seg.task import Seg

if __name__ == "__main__":
    finetune(only=Seg)
