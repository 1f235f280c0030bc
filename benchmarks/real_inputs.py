"""Unlabelled inputs for models that others have trained: text, photographs and speech, as each model is documented for.

    python benchmarks/real_inputs.py KIND COUNT OUT.npz [--seed 0] [--part test]

Nothing is downloaded. Text is drawn in the fonts that matplotlib ships; photographs and faces come with scikit-image,
matplotlib and scikit-learn (`pip install scikit-image`); speech is synthesised from formants. The parts "train" and
"test" share no photograph and no face. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from scipy.signal import lfilter

Array = NDArray[np.float32]
Part = Literal["train", "test"]
Draw = np.random.Generator

TEXT = """the of and to in is total invoice date street price number name address phone order table summer river light
paper 2024 1,250.00 42 19:30 No. Ltd. GmbH Avenue MENU OPEN EXIT Hotel Coffee Station please wait here garden music
bridge winter letter window yellow market doctor engine history village"""
PHOTOS = {
    "train": ("astronaut.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "brick.png", "ihc.png", "coins.png",
              "hubble_deep_field.jpg", "sklearn:datasets/images/china.jpg"),
    "test": ("coffee.png", "camera.png", "grass.png", "retina.jpg", "moon.png", "sklearn:datasets/images/flower.jpg"),
}  # fmt: skip
"""Of scikit-image's data folder, or of another package."""
PORTRAITS = {
    "train": ("astronaut.png", (165, 55, 285, 205)),
    "test": ("matplotlib:mpl-data/sample_data/grace_hopper.jpg", (165, 70, 345, 290)),
}
"""A photograph and the place of a face in it: left, top, right, bottom, in pixels."""
FACES, PEOPLE, HELD_OUT = "lfw_subset.npy", 100, 20
"""Small grey faces of scikit-image, one a person; the rest of the file shows none."""
RATE = 16_000
"""Samples a second of all speech."""
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410),
          (440, 1020, 2240), (660, 1720, 2410), (490, 1350, 1690))  # fmt: skip
"""Formants in hertz (Peterson and Barney 1952)."""


def resource(name: str) -> Path:
    """A file of scikit-image's data folder, or `package:path` of another package."""
    package, _, path = name.rpartition(":")
    spec = importlib.util.find_spec(package or "skimage")
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package or 'scikit-image'} is not installed: pip install {package or 'scikit-image'}")
    return Path(spec.origin).parent / (path if package else f"data/{path}")


# Photographs


def photo(draw: Draw, part: Part, size: tuple[int, int]) -> Image.Image:
    """A piece of a photograph, RGB, of that width and height."""
    image = Image.open(resource(str(draw.choice(PHOTOS[part])))).convert("RGB")
    side = draw.uniform(0.25, 0.9) * min(image.width / size[0], image.height / size[1])
    width, height = side * size[0], side * size[1]
    left, top = draw.uniform(0, image.width - width), draw.uniform(0, image.height - height)
    return lit(draw, image.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height)))


def lit(draw: Draw, image: Image.Image) -> Image.Image:
    """The picture in another light and focus, mirrored or not."""
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(draw.uniform(0.6, 1.4))
    image = Image.merge("RGB", [band.point(_tint(draw.uniform(0.8, 1.2))) for band in image.split()])
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, image.width / 40)))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else image


def _tint(gain: float) -> list[int]:
    """What each value of a colour becomes."""
    return [min(255, round(gain * value)) for value in range(256)]


def face(draw: Draw, part: Part, size: int) -> Image.Image:
    """A face, shifted, scaled and turned a little; every third picture is a piece of a photograph."""
    kind = draw.random()
    if kind < 1 / 3:
        return photo(draw, part, (size, size))
    if kind < 1 / 2:
        name, box = PORTRAITS[part]
        image = Image.open(resource(name)).convert("RGB")
    else:
        faces = np.load(resource(FACES))[:PEOPLE]
        people = faces[:-HELD_OUT] if part == "train" else faces[-HELD_OUT:]
        image = Image.fromarray((255 * people[draw.integers(len(people))]).astype(np.uint8)).convert("RGB")
        box = (0, 0, image.width, image.height)
    center, side = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), max(box[2] - box[0], box[3] - box[1])
    half = side * draw.uniform(0.4, 0.55)
    x, y = (place + side * draw.uniform(-0.1, 0.1) for place in center)
    corners = max(0, x - half), max(0, y - half), min(image.width, x + half), min(image.height, y + half)
    image = image.rotate(draw.uniform(-15, 15), Image.Resampling.BILINEAR, center=(x, y))
    return lit(draw, image.resize((size, size), Image.Resampling.BILINEAR, corners))


# Text


def fonts() -> list[Path]:
    """The fonts with letters that matplotlib ships."""
    found = resource("matplotlib:mpl-data/fonts/ttf").glob("DejaVu*.ttf")
    return sorted(path for path in found if "Display" not in path.name)


def line(draw: Draw, height: int) -> Image.Image:
    """A line of some words, about so high, on paper, a little turned, blurred and noisy; RGB."""
    text = " ".join(draw.choice(TEXT.split(), draw.integers(1, 4)))
    if draw.random() < 0.2:
        text = text.upper()
    files = fonts()
    font = ImageFont.truetype(str(files[draw.integers(len(files))]), round(height * draw.uniform(0.6, 0.85)))
    left, top, right, bottom = font.getbbox(text)
    margin = round(height * draw.uniform(0.05, 0.3))
    paper, ink = draw.integers(150, 256, 3), draw.integers(0, 110, 3)
    if draw.random() < 0.2:
        paper, ink = ink, paper
    image = Image.new("RGB", (round(right - left) + 2 * margin, height), tuple(map(int, paper)))
    at = (margin - left, (height - (bottom - top)) / 2 - top)
    ImageDraw.Draw(image).text(at, text, tuple(map(int, ink)), font)
    image = image.rotate(draw.uniform(-3, 3), Image.Resampling.BILINEAR, fillcolor=tuple(map(int, paper)))
    image = image.filter(ImageFilter.GaussianBlur(draw.uniform(0, height / 40)))
    noisy = np.asarray(image, np.float32) + draw.normal(0, draw.uniform(0, 12), (image.height, image.width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def page(draw: Draw, part: Part, size: int) -> Image.Image:
    """A square picture with lines of text on paper or on a photograph; some are pieces of scanned pages."""
    if draw.random() < 0.15:
        scan = Image.open(resource("page.png" if part == "train" else "text.png")).convert("RGB")
        side = min(size, scan.height)
        left, top = draw.integers(0, scan.width - side + 1), draw.integers(0, scan.height - side + 1)
        return scan.crop((left, top, left + side, top + side)).resize((size, size))
    if draw.random() < 0.3:
        image = photo(draw, part, (size, size))
    else:
        image = Image.new("RGB", (size, size), tuple(map(int, draw.integers(170, 256, 3))))
    top = draw.integers(0, size // 4)
    while top < size - 12:
        height = int(draw.integers(size // 10, size // 4))
        words = line(draw, height)
        image.paste(words, (int(draw.integers(0, size // 3)), int(top)))
        top += round(height * draw.uniform(1.1, 2.2))
    return image.rotate(draw.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=(200, 200, 200))


# Speech


def speech(draw: Draw, seconds: float) -> Array:
    """A voice of its own pitch that says vowels, hisses and pauses, in some noise, in -1..1."""
    count, parts, done = round(seconds * RATE), list[Array](), 0
    pitch = draw.uniform(90, 250)
    while done < count:
        length = round(draw.uniform(0.05, 0.3) * RATE)
        kind = draw.choice(3, p=(0.6, 0.2, 0.2))
        sound = (_vowel, _hiss, _pause)[kind](draw, length, pitch * draw.uniform(0.8, 1.25))
        parts.append(sound)
        done += length
    clean = np.concatenate(parts)[:count]
    noise = draw.normal(0, 10 ** draw.uniform(-3.5, -1.7), count)
    loud = draw.uniform(0.05, 0.7) / max(float(np.abs(clean).max()), 1e-3)
    return (clean * loud + noise).clip(-1, 1).astype(np.float32)


def _vowel(draw: Draw, length: int, pitch: float) -> Array:
    """Pulses of a gliding pitch through three resonances that move from one vowel to another, in steps of 10 ms."""
    glide = np.linspace(pitch, pitch * draw.uniform(0.8, 1.2), length)
    phase = np.cumsum(glide / RATE)
    sound = np.diff(np.floor(phase), prepend=0.0) + draw.normal(0, 0.01, length)
    first, last = (np.array(VOWELS[draw.integers(len(VOWELS))]) for _ in range(2))
    for formant in range(3):
        state, pieces = np.zeros(2), []
        for start in range(0, length, RATE // 100):
            where = first[formant] + (last[formant] - first[formant]) * start / length
            radius, angle = np.exp(-np.pi * (60 + 30 * formant) / RATE), 2 * np.pi * where / RATE
            ring = [1, -2 * radius * np.cos(angle), radius**2]
            piece, state = lfilter([sum(ring)], ring, sound[start : start + RATE // 100], zi=state)
            pieces.append(piece)
        sound = np.concatenate(pieces)
    return (sound * _swell(length)).astype(np.float32)


def _hiss(draw: Draw, length: int, pitch: float) -> Array:
    """Noise around a frequency, as of s, f and sh; a short one is a burst."""
    radius, angle = draw.uniform(0.6, 0.95), 2 * np.pi * draw.uniform(2000, 7000) / RATE
    ring = [1, -2 * radius * np.cos(angle), radius**2]
    return (0.03 * lfilter([1], ring, draw.normal(0, 1, length)) * _swell(length)).astype(np.float32)


def _pause(draw: Draw, length: int, pitch: float) -> Array:
    return np.zeros(length, np.float32)


def _swell(length: int) -> Array:
    """Up in 10 ms, down in 10 ms."""
    edge = np.minimum(np.arange(length), np.arange(length)[::-1]) / (RATE / 100)
    return np.minimum(edge, 1).astype(np.float32)


def mel(sound: Array, frames: int, bands: int = 32) -> Array:
    """[frames, bands]: power in 25 ms every 10 ms by mel bands of 60 to 3800 Hz, in dB at most 80 under the loudest."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, 400)[:: RATE // 100][:frames]
    power = np.abs(np.fft.rfft(windows * np.hanning(400), 512)) ** 2
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([60, 3800]) / 700)), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(512, 1 / RATE)[:, None]
    up, down = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    level = 10 * np.log10(np.maximum(power @ np.maximum(0, np.minimum(up, down)), 1e-10))
    return np.maximum(level, level.max() - 80).astype(np.float32)


# As models take them


def channels_first(image: Image.Image, mean: float | Array, std: float | Array) -> Array:
    """[3, H, W] in the order blue, green, red, which is OpenCV's."""
    return ((np.asarray(image, np.float32)[:, :, ::-1] / 255 - mean) / std).transpose(2, 0, 1)


def text_line(draw: Draw, part: Part, width: int, *, turned: bool) -> Array:
    """PaddleOCR's recognisers and classifiers: 48 pixels high, in -1..1, filled up with 0 on the right."""
    image = line(draw, int(draw.integers(20, 64)))
    if turned and draw.random() < 0.5:
        image = image.rotate(180)
    image = image.resize((min(width, max(1, round(48 * image.width / image.height))), 48), Image.Resampling.BILINEAR)
    filled = np.zeros((3, 48, width), np.float32)
    filled[:, :, : image.width] = channels_first(image, 0.5, 0.5)
    return filled


def text_page(draw: Draw, part: Part, size: int) -> Array:
    """PaddleOCR's detectors: ImageNet's mean and deviation, sides that are multiples of 32."""
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return channels_first(page(draw, part, size), mean, std)


def face_crop(draw: Draw, part: Part, size: int) -> Array:
    """MTCNN: [W, H, 3] in -1..1; it reads pictures sideways."""
    return ((np.asarray(face(draw, part, size), np.float32) - 127.5) / 128).transpose(1, 0, 2)


def scene(draw: Draw, part: Part, size: int) -> Array:
    """The same of a photograph into which up to three faces are pasted."""
    image = photo(draw, part, (size, size))
    for _ in range(draw.integers(0, 4)):
        side = int(draw.integers(12, size // 2))
        image.paste(face(draw, part, side), tuple(map(int, draw.integers(0, size - side, 2))))
    return ((np.asarray(image, np.float32) - 127.5) / 128).transpose(1, 0, 2)


def embedded(draw: Draw, part: Part) -> Array:
    """Google's speech embedding, as openWakeWord feeds it: [76, 32, 1], dB / 10 + 2."""
    return mel(speech(draw, 0.8), 76)[:, :, None] / 10 + 2


def chunks(draw: Draw, part: Part, count: int = 12) -> Array:
    """Silero's voice detector, as faster-whisper runs it: [T, 576], 32 ms each with the last 4 ms of the one before."""
    sound = np.concatenate([np.zeros(64, np.float32), speech(draw, count * 512 / RATE)])
    return np.lib.stride_tricks.sliding_window_view(sound, 576)[::512]


KINDS: dict[str, tuple[str, Callable[[Draw, Part], Array]]] = {
    "directions": ("x", lambda draw, part: text_line(draw, part, 192, turned=True)),
    "lines": ("x", lambda draw, part: text_line(draw, part, 160, turned=False)),
    "pages": ("x", lambda draw, part: text_page(draw, part, 128)),
    "faces-48": ("input_3", lambda draw, part: face_crop(draw, part, 48)),
    "faces-24": ("input_2", lambda draw, part: face_crop(draw, part, 24)),
    "scenes": ("input_1", lambda draw, part: scene(draw, part, 64)),
    "speech-mel": ("input_1", embedded),
    "speech-chunks": ("input", chunks),
}
"""What a model's input is called, and how one sample of it is made."""


def inputs(kind: str, count: int, part: Part, seed: int) -> dict[str, Array]:
    """So many samples, [N, ...] by the names of a model's inputs; a voice detector's states are zeros."""
    name, made = KINDS[kind]
    draw = np.random.default_rng([seed, part == "test", *kind.encode()])
    found = {name: np.stack([made(draw, part) for _ in range(count)]).astype(np.float32)}
    if kind == "speech-chunks":
        found |= {state: np.zeros((count, 1, 1, 128), np.float32) for state in "hc"}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("train", "test"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    np.savez(args.out, **inputs(args.kind, args.count, args.part, args.seed))


if __name__ == "__main__":
    main()
