"""Measure the geometry of intrinsic vectors and deltas: directions, subspaces, clusters.

Arrays in, numbers out. Every figure has its control beside it: shuffled labels, random subspaces,
shuffled pairs.

Axis letters: N points of k numbers, T seen and U other tasks, S places in the subspace, d intrinsic
dimension, P numbers of a delta.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.cluster import hierarchy
from scipy.linalg import subspace_angles
from scipy.spatial.distance import cdist, squareform
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Decode = Callable[[np.ndarray], np.ndarray]
Measure = Callable[[np.ndarray], float]

# Differences below it are those of rounding.
ROUNDING = 1e-12
# A direction this much weaker than the strongest one is none.
LEAST_SLOPE = 1e-6
# The defaults of scikit-learn and of umap-learn.
TSNE_PERPLEXITY = 30
UMAP_NEIGHBOURS = 15


class Chance(NamedTuple):
    """What a figure is without the thing it measures: mean and standard deviation over draws."""

    mean: float
    deviation: float


class Correlation(NamedTuple):
    """A rank correlation and its p value; both NaN where it is undefined."""

    rho: float
    p_value: float


def spectrum(points: np.ndarray) -> np.ndarray:
    """Return the share of variance of each principal component, largest first; their sum is 1.

    points: [N, k], which must differ; else ValueError. The shares are [min(N, k)].
    """
    # Squared singular values of the centred points are N times the components' variances.
    variances = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    total = variances.sum()

    # Not `total <= 0`, which is False for NaN.
    if not total > 0:
        raise ValueError(
            f"points that differ were expected, found {len(points)} equal or undefined ones; "
            "give at least two tasks"
        )
    return variances / total


def effective_dimension(shares: np.ndarray) -> float:
    """Return the participation ratio, 1 / sum of squared shares (Gao et al. 2017, bioRxiv 214262).

    shares: [K] of variance, with sum 1. The ratio is K where they are equal, 1 where one is all.
    """
    concentration = np.square(shares).sum()
    return float(1 / concentration)


def components_for(shares: np.ndarray, share: float = 0.9) -> int:
    """Return how many of the largest components hold this share of the variance."""
    cumulative = np.cumsum(shares)

    # A sum that misses the share by its rounding alone has reached it.
    index = np.searchsorted(cumulative, share - ROUNDING)
    return int(index) + 1


def tangent_bases(decode: Decode, codes: np.ndarray, step: float = 1e-2) -> np.ndarray:
    """Return orthonormal bases [S, P, d] of the tangent spaces at codes, by central differences.

    decode: codes [2 d, d] to deltas [2 d, P], or to any other shape with P numbers a row.
    codes: [S, d] intrinsic vectors.
    step: in units of the codes (standard deviations of the seen tasks' codes); much smaller ones
        drown in the rounding of float32.
    """
    # One call of the decoder a code: it need not hold S times as many deltas at once.
    bases = []
    for code in codes:
        bases.append(_tangent_basis(decode, code, step))
    return np.stack(bases)


def _tangent_basis(decode: Decode, code: np.ndarray, step: float) -> np.ndarray:
    dim = len(code)
    moves = step * np.eye(dim)

    # Both ends of every difference in one call of the decoder.
    ends = np.concatenate([code + moves, code - moves])  # [2 d, d]
    deltas = np.asarray(decode(ends), dtype=float)
    deltas = deltas.reshape(2, dim, -1)  # [2, d, P]

    jacobian = (deltas[0] - deltas[1]).T / (2 * step)  # [P, d]
    basis, upper = np.linalg.qr(jacobian)

    # The diagonal of R is what each direction adds to those before it.
    slopes = np.abs(np.diag(upper))
    if not slopes.min() > LEAST_SLOPE * slopes.max():
        raise ValueError(
            f"{dim} independent directions were expected at code {code}, found fewer; "
            "choose a smaller d"
        )
    return basis


def principal_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the principal angles [d] between two spans, in degrees, smallest first.

    a, b: [P, d], each a basis of its span (Björck & Golub 1973).
    """
    # scipy gives them in radians, largest first.
    radians = subspace_angles(a, b)
    return np.rad2deg(radians)[::-1]


def subspace_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean squared cosine [S] of the principal angles of each pair of subspaces.

    a, b: [S, P, d] orthonormal bases. 1: the same span, 0: orthogonal; d / P is expected of random
    ones.
    """
    products = np.swapaxes(a, 1, 2) @ b  # [S, d, d]

    # Their singular values are the cosines, and squared singular values add up to squared entries.
    total = np.square(products).sum((1, 2))
    return total / a.shape[2]


def random_angles(dim: int, size: int, draws: int = 100, seed: int = 0) -> np.ndarray:
    """Return the principal angles [draws, d] of random subspaces, in degrees, smallest first.

    dim: d of the subspaces.
    size: P, the numbers of a delta.
    """
    generator = np.random.default_rng(seed)

    # One of each pair may be the first d axes: only their relative position counts.
    axes = np.eye(size, dim)
    angles = []
    for _ in range(draws):
        other = generator.standard_normal((size, dim))
        angles.append(principal_angles(axes, other))
    return np.stack(angles)


def random_similarity(dim: int, size: int, draws: int = 100, seed: int = 0) -> Chance:
    """Return what `subspace_similarity` is of random subspaces of d = `dim`, P = `size`."""
    angles = random_angles(dim, size, draws, seed)

    # The same sum of squared cosines as of orthonormal bases.
    cosines = np.cos(np.deg2rad(angles))
    similarities = np.square(cosines).mean(1)  # [draws]
    return _chance(similarities)


def _chance(values: np.ndarray) -> Chance:
    return Chance(mean=float(values.mean()), deviation=float(values.std()))


@dataclass(frozen=True)
class Clusters:
    """How well labelled points lie apart, and how well the same points with shuffled labels do."""

    silhouette: float
    """Mean over points, -1 … 1."""
    silhouette_shuffled: Chance
    """Of the same points over shuffles of their labels."""
    silhouette_p: float
    """Share of shuffles, and of the labels given, that are as good or better."""
    accuracy: float
    """Of a linear probe, cross-validated, 0 … 1."""
    accuracy_shuffled: Chance
    accuracy_p: float
    points: int
    """How many points were used."""
    groups: int
    """How many labels were used."""
    left_out: tuple[str, ...]
    """Labels of fewer points than folds."""


def clusters(
    points: np.ndarray,
    labels: Sequence[str],
    folds: int = 5,
    shuffles: int = 100,
    seed: int = 0,
) -> Clusters:
    """Measure whether points of one label lie together and a linear probe can tell them apart.

    points: [N, k].
    labels: N names of groups; those of fewer points than folds are left out, and ValueError is
        raised where fewer than two remain.
    shuffles: permutations of the labels that the figures are compared with.
    """
    counts = Counter(labels)
    left_out = tuple(sorted(name for name, count in counts.items() if count < folds))
    if len(counts) - len(left_out) < 2:
        raise ValueError(
            f"two groups of at least {folds} points were expected, found {dict(counts)}; "
            "give fewer folds or coarser labels"
        )

    # A probe needs each group in each fold.
    used = [i for i, name in enumerate(labels) if name not in left_out]
    chosen = points[used]
    truth = np.array(labels)[used]

    # Both figures meet the same shuffles.
    generator = np.random.default_rng(seed)
    shuffled = []
    for _ in range(shuffles):
        shuffled.append(generator.permutation(truth))

    def silhouette_of(groups: np.ndarray) -> float:
        return float(silhouette_score(chosen, groups))

    def accuracy_of(groups: np.ndarray) -> float:
        return _probe_accuracy(chosen, groups, folds, seed)

    silhouette = _against_shuffled(silhouette_of, truth, shuffled)
    accuracy = _against_shuffled(accuracy_of, truth, shuffled)
    return Clusters(
        silhouette=silhouette.value,
        silhouette_shuffled=silhouette.chance,
        silhouette_p=silhouette.p_value,
        accuracy=accuracy.value,
        accuracy_shuffled=accuracy.chance,
        accuracy_p=accuracy.p_value,
        points=len(used),
        groups=len(set(truth)),
        left_out=left_out,
    )


def _probe_accuracy(points: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> float:
    # Scaled inside the folds: the mean of the test points is not known to the probe.
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    accuracies = cross_val_score(probe, points, labels, cv=split)  # [folds]
    return float(accuracies.mean())


class _AgainstShuffled(NamedTuple):
    """A figure of the labels, the same of shuffled ones, and the permutation p value."""

    value: float
    chance: Chance
    p_value: float


def _against_shuffled(
    measure: Measure,
    truth: np.ndarray,
    shuffled: Sequence[np.ndarray],
) -> _AgainstShuffled:
    value = measure(truth)
    by_chance = []
    for labels in shuffled:
        by_chance.append(measure(labels))

    draws = np.array(by_chance)
    return _AgainstShuffled(value, _chance(draws), _p_value(draws, value))


def _p_value(draws: np.ndarray, value: float) -> float:
    """Return the share of draws that reach the value (Phipson & Smyth 2010)."""
    # The value counts among the draws, so that no p is 0; a draw equal but for rounding reaches it.
    reached = (draws >= value - ROUNDING).sum()
    return float((1 + reached) / (1 + len(draws)))


def cosine_matrix(points: np.ndarray) -> np.ndarray:
    """Return the cosines [N, N] between points seen from the origin; 0 for the origin itself.

    points: [N, k]; the origin of codes is the seen tasks' mean.
    """
    return np.asarray(cosine_similarity(points))


def linkage(cosines: np.ndarray) -> np.ndarray:
    """Return scipy's tree [N - 1, 4] of average distances, its leaves ordered by likeness.

    cosines: [N, N]; the distance of two points is 1 - cosine.
    """
    # squareform takes an exactly symmetric matrix with an exactly empty diagonal.
    distances = 1 - (cosines + cosines.T) / 2
    np.fill_diagonal(distances, 0)

    condensed = squareform(distances.clip(0), checks=False)
    return hierarchy.linkage(condensed, "average", optimal_ordering=True)


def leaf_order(tree: np.ndarray) -> np.ndarray:
    """Return the order [N] of the tree's leaves, in which like points are neighbours."""
    return hierarchy.leaves_list(tree)


def embed(points: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Return points in two dimensions, [N, 2].

    points: [N, k], at least 4 points of 2 numbers; else ValueError.
    method: `pca`, `tsne` (van der Maaten & Hinton 2008) or `umap` (McInnes et al. 2018). The
        perplexity of t-SNE is 30, with fewer than 91 points (N - 1) / 3; UMAP has 15 neighbours,
        N - 1 at most.
    """
    if len(points) < 4 or points.shape[1] < 2:
        raise ValueError(
            f"at least 4 points of 2 numbers were expected, found {points.shape}; "
            "draw fewer dimensions directly"
        )
    if method == "pca":
        return PCA(2).fit_transform(points)
    if method == "tsne":
        return _tsne(points, seed)
    if method == "umap":
        return _umap(points, seed)
    raise ValueError(f"method pca, tsne or umap was expected, found {method}; name one of them")


def _tsne(points: np.ndarray, seed: int) -> np.ndarray:
    # Above a third of the other points the perplexity cannot be reached.
    perplexity = min(TSNE_PERPLEXITY, (len(points) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return tsne.fit_transform(points)


def _umap(points: np.ndarray, seed: int) -> np.ndarray:
    # An optional package.
    try:
        from umap import UMAP
    except ImportError as error:
        raise ValueError(
            "method umap needs the package umap-learn: "
            "pip install 'intrinsic-prompt-tuning[umap]', or use tsne"
        ) from error

    # With more than one thread the same seed would draw another map each time.
    neighbours = min(UMAP_NEIGHBOURS, len(points) - 1)
    umap = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    return umap.fit_transform(points)


def nearest_distance(codes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance [U] of each code to the nearest of the seen ones.

    codes: [U, d].
    seen: [T, d], in the same units.
    """
    return cdist(codes, seen).min(1)


def rank_correlation(
    x: np.ndarray,
    y: np.ndarray,
    shuffles: int = 10_000,
    seed: int = 0,
) -> Correlation:
    """Return Spearman's rho and its two-sided p value over shuffled pairs.

    x, y: [U]; NaN is returned where one is constant or has a NaN. A common use: the distance to the
    nearest seen code, and recovery.
    """
    # Spearman's rho is the correlation of the ranks (ties have their mean rank).
    ranks = np.stack([rankdata(x), rankdata(y)])
    centred = ranks - ranks.mean(1, keepdims=True)  # [2, U]
    a = centred[0]
    b = centred[1]
    if not (a @ a > 0 and b @ b > 0):
        return Correlation(math.nan, math.nan)

    # Shuffling changes neither mean nor spread: the scale is the same for every draw.
    scale = np.sqrt((a @ a) * (b @ b))
    rho = float(a @ b / scale)

    generator = np.random.default_rng(seed)
    copies = np.tile(b, (shuffles, 1))  # [shuffles, U]
    shuffled = generator.permuted(copies, axis=1)
    by_chance = shuffled @ a / scale

    # Two-sided: as far from none in either direction.
    p_value = _p_value(np.abs(by_chance), abs(rho))
    return Correlation(rho, p_value)
