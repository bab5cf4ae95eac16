"""What a file is that should be a photo and cannot be read as one: a sentence that says what to do about it."""

import os
from pathlib import Path

# Photos of telephones and cameras that nothing here reads; suffixes in lower case.
UNREAD = frozenset({".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})


def called(source: Path | bytes) -> str:
    return f"a photo of {len(source)} bytes" if isinstance(source, bytes) else str(source)


def sentence(source: Path | bytes, error: Exception) -> str:
    """Say what an unreadable file is instead of a photo, and what to do about it."""
    name = called(source)
    if isinstance(source, bytes):
        head, size = source[:512], len(source)
    elif not os.path.lexists(source):
        return f"{name} does not exist; check the path"
    else:
        try:
            with open(source, "rb") as file:
                head, size = file.read(512), os.path.getsize(source)
        except OSError as reason:
            return f"{name} cannot be opened ({reason.strerror}); check that it is a file and that you may read it"
    return f"{name} {_looks(head, size, error)}"


def _looks(head: bytes, size: int, error: Exception) -> str:
    """The predicate of the sentence, judged from the first bytes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = (b"\xff\xd8", b"\x89png", b"gif8", b"bm", b"ii*\x00", b"mm\x00*")
    if size == 0:
        return "is empty; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not a photo; run `git lfs pull` to fetch the photo"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<svg")):
        return "is a web page or other markup, not a photo; the download went wrong, fetch it again"
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"mif1", b"msf1", b"hevc"}:
        return "is a HEIC photo, which Pillow cannot read; convert it to JPEG or PNG"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "is text, not a photo; check what was saved under this name"
    if start.startswith(known) or head[8:12] in {b"WEBP", b"avif"}:
        reason = str(error).strip(".") or type(error).__name__
        return f"is a damaged or unsupported picture of {size} bytes ({reason}); copy it again or convert it to PNG"
    return "is not a picture in a known format; convert it to JPEG or PNG"
