"""What the commands of this folder take on their command lines: text -> a checked value, or a sentence from argparse."""

import argparse


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return number


def size(text: str) -> tuple[int, int]:
    """HxW in pixels, such as 256x192.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    height, cross, width = text.partition("x")
    if not cross:
        raise argparse.ArgumentTypeError(f"{text!r} must be height x width in pixels, such as 256x192")
    return positive(height), positive(width)


def metres(text: str) -> float:
    """A positive number of metres.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive number of metres, 0.001 for millimetres")
    return number
