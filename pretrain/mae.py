"""Pretrain by masked autoencoding:  torchrun --nproc_per_node 8 pretrain/mae.py configs/pretrain/humans_1b.py batch=64"""

from shared.engine.launch import pretrain

if __name__ == "__main__":
    pretrain()
