"""The geometry of codes and prompts: how many directions they use, how the surface lies, whether tasks of a kind lie together.

Arrays in, numbers out. Every figure has its control beside it: shuffled labels, random subspaces, shuffled pairs.
Letters: N points of k numbers, T seen and U other tasks, S places on the surface, d intrinsic dim, D = n h numbers of a prompt.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


def spectrum(points: np.ndarray) -> np.ndarray:
    """Return the shares of variance [min(N, k)] of the principal components of points [N, k], largest first; their sum is 1."""
    variances = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    if not variances.sum() > 0:
        raise ValueError(f"points that differ were expected, found {len(points)} equal or undefined ones; give at least two tasks")
    return variances / variances.sum()


def effective_dimension(shares: np.ndarray) -> float:
    """Return the participation ratio 1 / sum of squared shares, between 1 and their number (Gao et al. 2017, bioRxiv 214262)."""
    return float(1 / np.square(shares).sum())


def components_for(shares: np.ndarray, wanted: float = 0.9) -> int:
    """Return how many of the largest components hold the wanted share of variance."""
    return int(np.searchsorted(np.cumsum(shares), wanted - 1e-12)) + 1


def tangent_bases(decode: Callable[[np.ndarray], np.ndarray], codes: np.ndarray, step: float = 1e-2) -> np.ndarray:
    """Return orthonormal bases [S, D, d] of the surface's tangent spaces at codes [S, d], by central differences.

    decode: codes [2 d, d] to prompts [2 d, D] or [2 d, n, h].
    step: in units of the codes (standard deviations of the seen tasks' codes); much smaller ones drown in the rounding of float32.
    """
    return np.stack([_tangent_basis(decode, code, step) for code in codes])


def _tangent_basis(decode: Callable[[np.ndarray], np.ndarray], code: np.ndarray, step: float) -> np.ndarray:
    moves = step * np.eye(len(code))
    ends = np.asarray(decode(np.concatenate([code + moves, code - moves])), dtype=float).reshape(2, len(code), -1)
    basis, upper = np.linalg.qr((ends[0] - ends[1]).T / (2 * step))  # of the Jacobian [D, d]
    sizes = np.abs(np.diag(upper))
    if not sizes.min() > 1e-6 * sizes.max():
        raise ValueError(f"{len(code)} independent directions were expected at code {code}, found fewer; choose a smaller d")
    return basis


def principal_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the principal angles [d] between the spans of a [D, d] and b [D, d], in degrees, smallest first (Björck & Golub 1973)."""
    return np.rad2deg(subspace_angles(a, b))[::-1]


def subspace_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean squared cosine [S] of the principal angles of each pair of orthonormal bases a [S, D, d] and b [S, D, d].

    1: the same span, 0: orthogonal; d / D is expected of random ones.
    """
    return np.square(np.swapaxes(a, 1, 2) @ b).sum((1, 2)) / a.shape[2]


def random_angles(dim: int, size: int, draws: int = 100, seed: int = 0) -> np.ndarray:
    """Return the principal angles [draws, d] in degrees, smallest first, of random d-dimensional subspaces of D = `size` numbers.

    One of each pair is the first d axes: only their relative position counts.
    """
    generator = np.random.default_rng(seed)
    axes = np.eye(size, dim)
    return np.stack([principal_angles(axes, generator.standard_normal((size, dim))) for _ in range(draws)])


def random_similarity(dim: int, size: int, draws: int = 100, seed: int = 0) -> tuple[float, float]:
    """Return mean and standard deviation over draws of `subspace_similarity` of random d-dimensional subspaces of D = `size` numbers."""
    drawn = np.square(np.cos(np.deg2rad(random_angles(dim, size, draws, seed)))).mean(1)
    return float(drawn.mean()), float(drawn.std())


Measurement = tuple[float, tuple[float, float], float]


@dataclass(frozen=True)
class Clusters:
    """How well labelled points lie apart, and how well the same points with shuffled labels do.

    silhouette: mean over points, -1 … 1. accuracy: of a linear probe, cross-validated, 0 … 1.
    *_shuffled: mean and standard deviation over shuffles. *_p: share of shuffles (and the labels given) that are as good or better.
    points, groups: how many were used. left_out: groups with fewer points than folds.
    """

    silhouette: float
    silhouette_shuffled: tuple[float, float]
    silhouette_p: float
    accuracy: float
    accuracy_shuffled: tuple[float, float]
    accuracy_p: float
    points: int
    groups: int
    left_out: tuple[str, ...]


def clusters(points: np.ndarray, labels: Sequence[str], folds: int = 5, shuffles: int = 100, seed: int = 0) -> Clusters:
    """Measure whether points [N, k] of one label lie together and can be told apart by a linear probe, against shuffled labels."""
    counts = Counter(labels)
    left_out = tuple(sorted(name for name, count in counts.items() if count < folds))
    if len(counts) - len(left_out) < 2:
        raise ValueError(f"two groups of at least {folds} points were expected, found {dict(counts)}; give fewer folds or coarser labels")
    used = [i for i, name in enumerate(labels) if name not in left_out]
    chosen, truth = points[used], np.array([labels[i] for i in used])
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(truth) for _ in range(shuffles)]
    silhouette = _against_shuffled(lambda y: float(silhouette_score(chosen, y)), truth, drawn)
    accuracy = _against_shuffled(lambda y: _probe(chosen, y, folds, seed), truth, drawn)
    return Clusters(*silhouette, *accuracy, len(used), len(set(truth)), left_out)


def _probe(points: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> float:
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(cross_val_score(probe, points, labels, cv=StratifiedKFold(folds, shuffle=True, random_state=seed)).mean())


def _against_shuffled(measure: Callable[[np.ndarray], float], truth: np.ndarray, drawn: Sequence[np.ndarray]) -> Measurement:
    """Return the measure of the labels, its mean and deviation over the shuffled ones, and the permutation p value."""
    found, chance = measure(truth), np.array([measure(labels) for labels in drawn])
    return found, (float(chance.mean()), float(chance.std())), _p_value(chance, found)


def _p_value(chance: np.ndarray, found: float) -> float:
    """Return the share of draws, with the one found among them, that reach it (Phipson & Smyth 2010); equal but for rounding counts."""
    return float((1 + (chance >= found - 1e-12).sum()) / (1 + len(chance)))


def cosine_matrix(points: np.ndarray) -> np.ndarray:
    """Return the cosines [N, N] between points [N, k] seen from the origin (of codes: the seen tasks' mean); 0 for the origin itself."""
    return np.asarray(cosine_similarity(points))


def linkage(cosines: np.ndarray) -> np.ndarray:
    """Return the tree [N - 1, 4] of scipy that joins by average distance 1 - cosine, its leaves ordered by likeness."""
    distances = 1 - (cosines + cosines.T) / 2
    np.fill_diagonal(distances, 0)
    return hierarchy.linkage(squareform(distances.clip(0), checks=False), "average", optimal_ordering=True)


def leaf_order(tree: np.ndarray) -> np.ndarray:
    """Return the order [N] of the tree's leaves, in which like points are neighbours."""
    return hierarchy.leaves_list(tree)


def embed(points: np.ndarray, method: str = "pca", seed: int = 0) -> np.ndarray:
    """Return points [N, k] in two dimensions [N, 2] by `pca`, `tsne` (van der Maaten & Hinton 2008) or `umap` (McInnes et al. 2018).

    The perplexity of t-SNE is 30, with fewer than 91 points (N - 1) / 3; UMAP has 15 neighbours, N - 1 at most.
    """
    if len(points) < 4 or points.shape[1] < 2:
        raise ValueError(f"at least 4 points of 2 numbers were expected, found {points.shape}; draw fewer dimensions directly")
    if method == "pca":
        return PCA(2).fit_transform(points)
    if method == "tsne":
        return TSNE(2, perplexity=min(30, (len(points) - 1) / 3), init="pca", random_state=seed).fit_transform(points)
    if method == "umap":
        return _umap(points, seed)
    raise ValueError(f"method pca, tsne or umap was expected, found {method}; name one of them")


def _umap(points: np.ndarray, seed: int) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ValueError("method umap needs the package umap-learn: pip install 'intrinsic-prompt-tuning[umap]', or use tsne") from error
    return UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed, n_jobs=1).fit_transform(points)


def nearest_distance(codes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance [U] of each code [U, d] to the nearest of the seen codes [T, d], in units of the codes."""
    return cdist(codes, seen).min(1)


def rank_correlation(x: np.ndarray, y: np.ndarray, shuffles: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return Spearman's rho of x [U] and y [U] and its two-sided p value over shuffled pairs; NaN where x or y is constant or has a NaN.

    A common use: distance to the nearest seen code and recovery.
    """
    processes = np.stack([rankdata(x), rankdata(y)])
    a, b = processes - processes.mean(1, keepdims=True)
    if not (a @ a > 0 and b @ b > 0):
        return float("nan"), float("nan")
    scale = np.sqrt((a @ a) * (b @ b))
    drawn = np.random.default_rng(seed).permuted(np.tile(b, (shuffles, 1)), axis=1) @ a / scale
    rho = float(a @ b / scale)
    return rho, _p_value(np.abs(drawn), abs(rho))
