"""Every photo comes out upright, RGB and 8-bit; everything that is no photo is told in a sentence."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image

from shared.data.photo import UnreadablePhoto, photo_header, photo_size, read_photo

RED = (200, 10, 10)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def corner() -> Image.Image:
    """Black, 6 high and 10 wide, with a white block in the top left corner."""
    pixels = np.zeros((6, 10, 3), np.uint8)
    pixels[:3, :5] = 255
    return Image.fromarray(pixels)


KINDS = [("RGB", kind, RED) for kind in ("PNG", "BMP", "TIFF", "JPEG", "WEBP")]
KINDS += [("P", "GIF", RED), ("P", "PNG", RED), ("RGBA", "PNG", RED), ("CMYK", "JPEG", RED), ("CMYK", "TIFF", RED)]
KINDS += [("L", "PNG", (67, 67, 67)), ("L", "JPEG", (67, 67, 67)), ("LA", "PNG", (67, 67, 67))]
OLD = pytest.mark.skipif(PIL.__version__.split(".")[0] in ("11", "12"), reason="Pillow before 13 takes such a TIFF for one cut off")
KINDS += [pytest.param("YCbCr", "TIFF", RED, marks=OLD)]


@pytest.mark.parametrize(("mode", "kind", "expected"), KINDS)
def test_every_kind_of_photo_becomes_rgb(mode, kind, expected):
    image = Image.new("RGB", (6, 4), RED)
    photo = read_photo(encoded(image.quantize() if mode == "P" else image.convert(mode), kind))
    assert photo.shape == (4, 6, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert np.abs(photo.astype(int) - expected).max() <= 4


def test_black_and_white_stay_so():
    assert read_photo(encoded(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")))[0].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind):
    levels = np.array([[0, 255, 256, 40000, 65535]], np.uint16)
    photo = read_photo(encoded(Image.fromarray(levels), kind))
    assert photo[0].tolist() == [[v, v, v] for v in (0, 0, 1, 156, 255)]


def test_sixteen_bit_colour_keeps_its_high_byte():
    cv2 = pytest.importorskip("cv2")
    bgr = np.array([[[0x0100, 0x7FFF, 0xFFFF]]], np.uint16)
    assert read_photo(cv2.imencode(".png", bgr)[1].tobytes())[0, 0].tolist() == [0xFF, 0x7F, 0x01]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_what_needs_more_than_sixteen_bits_is_refused(dtype):
    with pytest.raises(UnreadablePhoto, match="8 or 16"):
        read_photo(encoded(Image.fromarray(np.full((2, 2), 1_000_000, dtype)), "TIFF"))


def test_transparency_is_composed_over_white():
    pixels = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    photo = read_photo(encoded(Image.fromarray(pixels)))
    assert photo[0].tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 127]]


def test_a_transparent_palette_colour_is_white():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    for transparency in (0, b"\x00\xff"):
        assert read_photo(encoded(image, transparency=transparency))[0].tolist() == [[255, 255, 255], [255, 0, 0]]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert read_photo(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0].tolist() == [255, 0, 0]


def test_one_pixel_is_a_photo():
    assert read_photo(encoded(Image.new("RGB", (1, 1), RED))).tolist() == [[list(RED)]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(corner, kind, orientation):
    # Row 0 and column 0 of the stored picture are shown at these edges, by the EXIF standard.
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(corner, kind, exif=exif)
    photo = read_photo(content)
    assert photo.shape[:2] == photo_size(content)
    assert photo_header(content).orientation == orientation
    assert np.abs(photo.astype(int) - upright(np.asarray(corner))).mean() < 8


def test_damaged_exif_does_not_lose_the_photo(corner):
    content = encoded(corner, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff garbage")
    assert read_photo(content).shape == (6, 10, 3)
    assert photo_size(content) == (6, 10)


def jpeg(side: int = 64) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and has almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + chunk(b"IEND", b"")


BAD = {
    "empty": (b"", "is empty; copy"),
    "half a JPEG": (jpeg()[: len(jpeg()) // 2], "damaged.*truncated"),
    "a JPEG's first bytes": (jpeg()[:20], "damaged"),
    "half a PNG": (encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))[:2000], "damaged"),
    "text": (b"I am a text, renamed.\n" * 10, "is text, not a photo"),
    "text that begins like a bitmap": (b"BMW is a car.\n" * 10, "is text, not a photo"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-lfs pointer.*git lfs pull"),
    "HTML": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "markup"),
    "HEIC": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC photo.*convert"),
    "noise": (np.random.default_rng(1).integers(0, 256, 999, dtype=np.uint8).tobytes(), "known format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n\x01", "known format"),
    "bomb": (png_header(30_000, 30_000), "30000 x 30000 pixels, more than the 400,000,000 allowed"),
    "big lie": (png_header(3000, 3000), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_photo_is_told_in_a_sentence(tmp_path, name):
    content, told = BAD[name]
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(UnreadablePhoto, match=told) as raised:
        read_photo(file)
    assert str(raised.value).startswith(str(file))
    with pytest.raises(UnreadablePhoto, match=told):
        read_photo(content)


def test_what_is_missing_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UnreadablePhoto, match=r"none\.jpg does not exist"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(UnreadablePhoto, match="cannot be opened"):
        photo_size(tmp_path)


def test_a_photo_larger_than_allowed_is_refused_before_it_is_decoded():
    content = encoded(Image.new("RGB", (20, 10)))
    assert read_photo(content, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(UnreadablePhoto, match="10 x 20 pixels, more than the 199"):
        read_photo(content, max_pixels=199)


def test_the_size_of_a_huge_photo_is_known_without_decoding():
    assert photo_size(png_header(20_000, 15_000)) == (15_000, 20_000)


def test_settings_of_the_process_are_left_alone():
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    contents = [encoded(Image.new("RGB", (40, 30), RED), "JPEG")] * 20 + [b"no photo"] * 20
    errors = []

    def read_all():
        for content in contents:
            try:
                read_photo(content)
            except UnreadablePhoto:
                pass
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert limit == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters
