"""Fine-tune normal:  torchrun --nproc_per_node 8 tasks/normal/finetune.py configs/normal/synthetic_nano.py lr=3e-4"""

from shared.engine.launch import finetune
from tasks.normal.task import Normal

if __name__ == "__main__":
    finetune(only=Normal)
