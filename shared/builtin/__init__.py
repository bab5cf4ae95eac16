"""The model that comes with the project: what answers where nobody gives a checkpoint. Its card is README.md beside this file."""

from pathlib import Path

MODEL = Path(__file__).with_name("model.safetensors")


def path() -> Path:
    """Where it lies.

    Raises:
        ValueError: this copy of the project came without it.
    """
    if not MODEL.is_file():
        raise ValueError(f"no checkpoint was given, and this copy has no built-in model: there is no {MODEL}; give a checkpoint")
    return MODEL
