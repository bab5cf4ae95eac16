"""Other people's weights -> ours, and back."""

from shared.convert.official import load_official

__all__ = ["load_official"]
