"""Conversion of encoded images to arrays, to one colour and size on request.

Letters: H height, W width, C channels.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from jdarts.config import DataConfig
from jdarts.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_END_MARKS = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
_TAIL = 64  # bytes in which a complete file has its end mark


Remedy = Literal["color", "size", ""]


class OddImage(Exception):
    """An image that cannot be used as it is.

    Attributes: `kind`, a few words for counts and lists (`CMYK`), and `remedy`: `color` if `data.color` converts it.
    """

    def __init__(self, kind: str, remedy: Remedy = ""):
        super().__init__(kind)
        self.kind = kind
        self.remedy: Remedy = remedy


@dataclass(frozen=True)
class ImageForm:
    """The form that images are converted to: `size` (H, W) and `color`; None leaves them unchanged.

    Colours are converted first. An image is then scaled, bilinear with antialiasing, until it covers `size`, and its
    centre is cut out.
    """

    size: tuple[int, int] | None = None
    color: Literal["rgb", "gray"] | None = None

    @classmethod
    def of(cls, config: DataConfig) -> "ImageForm":
        """The form that `data.image_size` and `data.color` ask for."""
        side = config.image_size
        return cls((side, side) if isinstance(side, int) else side, config.color)

    def decode(self, content: bytes) -> np.ndarray:
        """The bytes of an image file as uint8 [H, W, 1] (gray) or [H, W, 3]. Raises `OddImage`."""
        with _opened(content) as image:
            return _array(self._sized(self._coloured(image)))

    def shape(self, content: bytes) -> tuple[int, int, int]:
        """The shape of the result of `decode`. If the file looks complete, only its header is read.

        Raises `OddImage`, also for a file that ends too early.
        """
        mark = next((end for start, end in _END_MARKS.items() if content.startswith(start)), b"")
        if mark not in content[-_TAIL:]:
            return _three(self.decode(content).shape)
        with _opened(content) as image:
            if self.color is None:
                _require_plain(image)
            gray = self.color == "gray" if self.color else image.mode in ("1", "L")
            height, width = self.size or (image.height, image.width)
        return height, width, 1 if gray else 3

    def array(self, image: np.ndarray) -> np.ndarray:
        """Convert a decoded image, uint8 [H, W, C] with 1 or 3 channels."""
        from PIL import Image

        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return _array(self._sized(self._coloured(picture)))

    def _coloured(self, image: "Image.Image") -> "Image.Image":
        if self.color is None:
            _require_plain(image)
            return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
        if image.mode in _DEEP_MODES:
            image = _eight_bit(image)
        if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
            image = _on_white(image.convert("RGBA"))
        return image.convert("RGB" if self.color == "rgb" else "L")

    def _sized(self, image: "Image.Image") -> "Image.Image":
        from PIL import Image, ImageOps

        if self.size is None or image.size == self.size[::-1]:
            return image
        height, width = self.size
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


AS_STORED = ImageForm()


def decode_image(content: bytes, where: str, form: ImageForm = AS_STORED) -> np.ndarray:
    """`ImageForm.decode` for a single image: raises a `UserError` that names it as `where`."""
    try:
        return form.decode(content)
    except OddImage as odd:
        remedy = "convert it with --data.color rgb" if odd.remedy == "color" else "replace or remove it"
        raise UserError(f"{where} is {odd.kind}; {remedy}") from odd


@contextlib.contextmanager
def _opened(content: bytes) -> "Iterator[Image.Image]":
    """The image in `content`; any error that Pillow raises, also while pixels are read, becomes an `OddImage`."""
    from PIL import Image

    if not content:
        raise OddImage("empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image
    except OddImage:
        raise
    except Exception as error:  # damaged files give OSError, SyntaxError, ValueError, struct.error, …
        truncated = "truncated" in str(error).lower()
        raise OddImage("truncated" if truncated else "not readable as PNG, JPEG, WebP or BMP") from error


def _require_plain(image: "Image.Image") -> None:
    """Refuse modes that need conversion: all but 8-bit gray and RGB, palettes and bitmaps without transparency."""
    mode = image.mode
    if mode in ("L", "RGB", "1") or (mode == "P" and "transparency" not in image.info):
        return
    words = {"P": "a palette with transparency", "LA": "gray with transparency (LA)", "RGBA": "RGBA", "CMYK": "CMYK"}
    raise OddImage("16-bit" if mode in _DEEP_MODES else words.get(mode, f"of colour mode {mode}"), "color")


def _eight_bit(image: "Image.Image") -> "Image.Image":
    """16-bit gray, 0 to 65535, as 8-bit gray, rounded; Pillow's own conversion clips everything above 255."""
    from PIL import Image

    wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def _on_white(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def _array(image: "Image.Image") -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels
