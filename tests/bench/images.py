"""Pairs of images in the ten classes of the DOTmark benchmark, with exact distances at 32^2.

    python tests/bench/images.py --draw images.png    # look at them
    python tests/bench/images.py --lp                 # solve what data/image_pairs_lp.json lacks

An image is an array of whole numbers drawn once on 512^2 pixels and summed down, so that all sizes
show the same image and its digits do not depend on the machine; only white noise, whose sums would
be constant, is drawn anew for every size.  Black stays black: zeros are exact.  Two sets of four
pairs a class differ in their seeds alone: work with the first, look at the second once.

Schrieber, Schuhmacher, Gottschlich (2017), DOTmark: a benchmark for discrete optimal transport,
IEEE Access 5, 271-282. doi:10.1109/ACCESS.2016.2639065
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pma_grid as pma

Array = np.ndarray
FULL = 512  # pixels an axis of the images as drawn
SIZES = (32, 64, 128, 256, 512)
PAIRS = 4
SETS = {"first": 2017, "second": 7193}
STORE = Path(__file__).parents[2] / "data" / "image_pairs_lp.json"
DEPTH = 10**6  # largest value of images whose brightness spans many decades


# ---- densities -----------------------------------------------------------------------------------


def square(n: int) -> tuple[Array, Array]:
    """Coordinates of the cell centres of the unit square."""
    x = (np.arange(n) + 0.5) / n
    return x[:, None], x[None, :]


def disc(n: int, x: float, y: float, radius: float) -> Array:
    """1 within a disc."""
    X, Y = square(n)
    return ((X - x) ** 2 + (Y - y) ** 2 < radius**2).astype(float)


def spectral(n: int, rng: np.random.Generator, amplitude: Callable[[Array], Array]) -> Array:
    """Periodic Gaussian field of unit variance; ``amplitude`` of the wave number |k|."""
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]) * n
    k[0, 0] = np.inf
    values = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, n))) * amplitude(k), (n, n))
    return values / values.std()


def field(n: int, rng: np.random.Generator, power: float) -> Array:
    """Gaussian field whose spectrum falls like |k|^-power."""
    return spectral(n, rng, lambda k: k**-power)


def matern(rng: np.random.Generator, smoothness: float, scale: float) -> Array:
    """Gaussian field of Matern covariance on the full image, cut from a torus of twice the side."""
    bend = 2 * smoothness * (2 / scale) ** 2
    power = -(smoothness + 1) / 2
    waves = spectral(2 * FULL, rng, lambda k: (bend + (2 * np.pi * k) ** 2) ** power)
    return waves[:FULL, :FULL]


def photograph(n: int, rng: np.random.Generator) -> Array:
    """A crop of the bundled photographs, or of scikit-image's where it is installed."""
    try:
        from skimage import data

        image = rng.choice([data.camera, data.moon, data.coins, data.page])()
    except ImportError:
        pair = pma.cases.photographs().problem((128, 128))
        image = rng.choice([pair.source, pair.target]).values
    side = int(rng.integers(min(image.shape) // 3, min(image.shape)))
    i, j = (int(rng.integers(0, length - side + 1)) for length in image.shape)
    crop = pma.Density(image[i : i + side, j : j + side] + 1e-3)
    return crop.resampled(pma.Grid((n, n))).values


def shapes(n: int, rng: np.random.Generator) -> Array:
    """Binary: some discs and boxes, zero outside."""
    out = np.zeros((n, n))
    for _ in range(int(rng.integers(1, 5))):
        x, y, radius = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.06, 0.25)
        if rng.random() < 0.5:
            out = np.maximum(out, disc(n, x, y, radius))
        else:
            X, Y = square(n)
            out[(abs(X - x) < radius) & (abs(Y - y) < rng.uniform(0.05, 0.3))] = 1
    return out if out.any() else disc(n, 0.5, 0.5, 0.2)


def microscopy(n: int, rng: np.random.Generator, background: float = 0.01) -> Array:
    """Mostly black: bright spots, photon counts; ``background`` photons a pixel."""
    X, Y = square(n)
    light = np.zeros((n, n))
    for _ in range(int(rng.integers(8, 40))):
        x, y, width = rng.random(), rng.random(), rng.uniform(0.008, 0.03)
        light += rng.exponential() * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2))
    counts = rng.poisson(60 * light / light.max() + background).astype(float)
    return counts if counts.any() else light


def mixture(n: int, rng: np.random.Generator) -> Array:
    """Three Gaussians on a small background."""
    X, Y = square(n)
    out = np.full((n, n), 0.05)
    for _ in range(3):
        x, y, width = rng.random(), rng.random(), rng.uniform(0.05, 0.2)
        out = out + np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2))
    return out


def cauchy(rng: np.random.Generator) -> Array:
    """One to three bivariate Cauchy densities, turned and stretched, on the full image."""
    X, Y = square(FULL)
    out = np.zeros((FULL, FULL))
    for _ in range(int(rng.integers(1, 4))):
        x, y, angle = *rng.uniform(0.1, 0.9, 2), rng.uniform(0, np.pi)
        long, short = np.exp(rng.uniform(np.log(0.015), np.log(0.15), 2))
        along = (np.cos(angle) * (X - x) + np.sin(angle) * (Y - y)) / long
        across = (np.cos(angle) * (Y - y) - np.sin(angle) * (X - x)) / short
        out += (1 + along**2 + across**2) ** -1.5 / (long * short)
    return out


def scene(photo: Array, n: int = FULL) -> Array:
    """The middle square of a photograph on n^2 pixels, in grey: whole numbers, exact."""
    if photo.ndim == 3:
        photo = photo[..., :3].astype(float) @ np.array((2125.0, 7154.0, 721.0))  # luminance
    side = min(photo.shape)
    i, j = ((length - side) // 2 for length in photo.shape)
    # overlaps of the old pixels with the new ones, lengths in units of 1 / (n side)
    ends = np.arange(n + 1)[:, None] * side, np.arange(side + 1)[None, :] * n
    shared = np.minimum(ends[0][1:], ends[1][:, 1:]) - np.maximum(ends[0][:-1], ends[1][:, :-1])
    overlap = np.maximum(shared, 0).astype(float)
    return overlap @ photo[i : i + side, j : j + side] @ overlap.T


# ---- the ten classes -----------------------------------------------------------------------------


def grey(values: Array) -> Array:
    """Stretched to 0..255: the darkest pixels are exact zeros."""
    return np.rint(255 * (values - values.min()) / (values.max() - values.min()))


def deep(values: Array) -> Array:
    """Positive values in steps of a millionth of the largest, at least one step."""
    return np.maximum(np.rint(DEPTH * values / values.max()), 1)


# (smoothness, scale) of the fields as in DOTmark's table of classes; drawn on 512^2 pixels
DRAWN: dict[str, Callable[[np.random.Generator], Array]] = {
    "field, rough": lambda rng: grey(matern(rng, 0.25, 0.05)),
    "field, moderate": lambda rng: grey(matern(rng, 1.0, 0.15)),
    "field, smooth": lambda rng: grey(matern(rng, 2.5, 0.3)),
    "log field": lambda rng: deep(np.exp(matern(rng, 0.5, 0.4))),
    "logit field": lambda rng: deep(1 / (1 + np.exp(-4 * matern(rng, 4.5, 0.1)))),
    "cauchy": lambda rng: deep(cauchy(rng)),
    "shapes": lambda rng: shapes(FULL, rng),
    "microscopy": lambda rng: microscopy(FULL, rng, background=1e-4),
}
CLASSES = ("white noise", *DRAWN, "photograph")
# PNG files of scikit-image's: JPEG decoders differ in the last bit
SCENES = {
    "first": (("camera", "astronaut"), ("moon", "camera"), ("coffee", "chelsea"),
              ("astronaut", "coins")),
    "second": (("coffee", "moon"), ("gravel", "astronaut"), ("chelsea", "page"),
               ("brick", "coffee")),
}  # fmt: skip


def have_scenes() -> bool:
    """Whether scikit-image's photographs are at hand."""
    try:
        import skimage.data  # noqa: F401
    except ImportError:
        return False
    return True


def named_scene(name: str, n: int = FULL) -> Array:
    """A photograph of scikit-image's, raw, on n^2 pixels."""
    from skimage import data

    return scene(getattr(data, name)(), n)


def bundled_photograph(name: str) -> Array:
    """The pixels of one of the package's photographs."""
    density = pma.Density.from_image(Path(pma.__file__).parent / "cases" / "images" / f"{name}.png")
    return np.rint(density.values * density.mass)


def crop(rng: np.random.Generator, bundled: str) -> Array:
    """At least half the side of a bundled photograph, perhaps mirrored, raw, 512^2."""
    image = bundled_photograph(bundled)
    side = int(rng.integers(image.shape[0] // 2, image.shape[0]))
    i, j = (int(rng.integers(0, length - side)) for length in image.shape)
    cut = image[i : i + side, j : j + side]
    return scene(cut[::-1] if rng.random() < 0.5 else cut)


@dataclass(frozen=True)
class Pair:
    """Two images of a class; ``origin`` says where photographs come from."""

    set: str
    kind: str
    index: int
    origin: str = "drawn"

    def seeds(self, n: int) -> Iterator[list[int]]:
        """The seed of either image."""
        for side in (0, 1):
            yield [SETS[self.set], CLASSES.index(self.kind), self.index, side, n]

    def images(self, n: int) -> tuple[Array, Array]:
        """Whole numbers on n^2 pixels, n a divisor of 512."""
        if self.kind == "white noise":
            first, second = (
                np.random.default_rng(seed).integers(0, 256, (n, n)).astype(float)
                for seed in self.seeds(n)
            )
            return first, second
        a, b = (summed(image, n) for image in self._full())
        return a, b

    def _full(self) -> list[Array]:
        if self.origin == "scikit-image":
            return [named_scene(name) for name in SCENES[self.set][self.index]]
        generators = [np.random.default_rng(seed) for seed in self.seeds(FULL)]
        if self.kind == "photograph":
            return [crop(rng, f) for rng, f in zip(generators, ("camera", "cat"), strict=True)]
        return [DRAWN[self.kind](rng) for rng in generators]

    def problem(self, n: int, split: int = 1) -> pma.Problem:
        """The pair on the unit square, each pixel cut into ``split``^2 equal cells."""
        a, b = (image.repeat(split, 0).repeat(split, 1) for image in self.images(n))
        return pma.Problem(a, b)

    def digests(self, n: int = 32) -> list[str]:
        """sha256 of the images' whole numbers as little-endian 64-bit integers."""
        return [hashlib.sha256(a.astype("<i8").tobytes()).hexdigest() for a in self.images(n)]

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


def summed(image: Array, n: int) -> Array:
    """Sums of square blocks: exact for whole numbers."""
    block = image.shape[0] // n
    return image.reshape(n, block, n, block).sum(axis=(1, 3))


def pairs(
    name: str = "first", classes: tuple[str, ...] = CLASSES, origin: str | None = None
) -> list[Pair]:
    """The pairs of a set; photographs of scikit-image's where it is installed."""
    origin = origin or ("scikit-image" if have_scenes() else "bundled")
    return [
        Pair(name, kind, index, origin if kind == "photograph" else "drawn")
        for kind in classes
        for index in range(PAIRS)
    ]


# ---- exact distances -----------------------------------------------------------------------------


def programme(problem: pma.Problem) -> float:
    """W2^2 between the atoms at the cell centres, by the network simplex method."""
    import ot

    masses, points = [], []
    for density in (problem.source, problem.target):
        mass = density.values.ravel() / density.values.sum()
        kept = mass > 0
        masses.append(mass[kept] / mass[kept].sum())
        points.append(density.grid.coordinates().reshape(density.dim, -1).T[kept].copy())
    plan, log = ot.emd(*masses, ot.dist(*points), numItermax=10_000_000, log=True)
    if log["warning"]:
        raise RuntimeError(log["warning"])
    return float((plan * ot.dist(*points)).sum())


def exact(pair: Pair, n: int = 32, split: int = 1) -> float | None:
    """The stored W2^2 of a pair at 32^2, None if there is none or the images differ."""
    if n != 32 or split not in (1, 2) or not STORE.exists():
        return None
    for row in json.loads(STORE.read_text(encoding="utf-8"))["pairs"]:
        if key(row) == key(pair.__dict__):
            same = row["sha256"] == pair.digests()
            return float(row["w2_squared" if split == 1 else "w2_squared_split"]) if same else None
    return None


def key(row: dict) -> tuple:
    """What names a pair in the store."""
    return row["set"], row["kind"], row["index"], row["origin"]


def store_programmes() -> None:
    """Solve what the store lacks, both sets, and write it after every pair."""
    rows = json.loads(STORE.read_text(encoding="utf-8"))["pairs"] if STORE.exists() else []
    wanted = [pair for name in SETS for pair in pairs(name)]
    if have_scenes():
        wanted += [p for name in SETS for p in pairs(name, ("photograph",), origin="bundled")]
    for pair in wanted:
        digests = pair.digests()
        rows = [r for r in rows if key(r) != key(pair.__dict__) or r["sha256"] == digests]
        if any(key(row) == key(pair.__dict__) for row in rows):
            continue
        began = time.perf_counter()
        whole, split = (programme(pair.problem(32, k)) for k in (1, 2))
        rows.append(
            {**pair.__dict__, "sha256": digests, "w2_squared": whole, "w2_squared_split": split}
        )
        text = ",\n".join(json.dumps(row) for row in rows)
        STORE.write_text(f'{{"pairs": [\n{text}\n]}}\n', encoding="utf-8")
        print(f"{pair.set:7} {pair!s:20} {whole:.8f} {split:.8f} "
              f"{time.perf_counter() - began:6.1f} s", flush=True)  # fmt: skip


def draw(path: str, name: str) -> None:
    """All the pairs of a set at 128^2."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * PAIRS, len(CLASSES)), layout="tight")
    axes = figure.subplots(len(CLASSES), 2 * PAIRS)
    for k, pair in enumerate(pairs(name)):
        for side, image in enumerate(pair.images(128)):
            axis = axes[k // PAIRS, 2 * (k % PAIRS) + side]
            axis.imshow(image, cmap="gray", vmin=0)
            axis.axis("off")
    figure.savefig(path)


def main() -> None:
    """Store programmes or draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lp", action="store_true", help="solve the linear programmes")
    parser.add_argument("--draw", metavar="PNG")
    parser.add_argument("--set", choices=SETS, default="first")
    options = parser.parse_args()
    if options.draw:
        draw(options.draw, options.set)
    if options.lp:
        store_programmes()


if __name__ == "__main__":
    main()
