"""The geometry of codes by hand, or against plain loops over parts of scipy and scikit-learn."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from ipt.analysis import geometry


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def test_shares_of_variance_by_hand():
    """Around their mean the points vary by 8 along one axis and by 2 along the other."""
    points = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]]) + [5, -3]
    assert geometry.spectrum(points) == pytest.approx([0.8, 0.2])


@pytest.mark.parametrize("shape", [(30, 4), (4, 30)])
def test_shares_of_variance_are_those_of_principal_components(generator, shape):
    points = generator.standard_normal(shape) * np.linspace(1, 3, shape[1]) + 10
    shares = geometry.spectrum(points)
    known = PCA().fit(points).explained_variance_ratio_
    assert len(shares) == 4 and shares == pytest.approx(known, abs=1e-12)


def test_dimensions_by_hand():
    shares = np.array([0.5, 0.3, 0.2])
    assert geometry.effective_dimension(shares) == pytest.approx(1 / (0.25 + 0.09 + 0.04))
    assert [geometry.components_for(shares, wanted) for wanted in (0.5, 0.51, 0.8, 0.81)] == [
        1,
        2,
        2,
        3,
    ]
    assert geometry.components_for(np.array([0.5, 0.4, 0.06, 0.04])) == 2  # 0.9 at least
    assert geometry.components_for(np.array([0.5, 0.39, 0.06, 0.05])) == 3


def test_tangents_are_central_differences_of_one_hundredth(generator):
    """Of a square they are exact whatever the step; those of one side would be off by the step."""
    asked = []

    def decode(codes):
        asked.append(codes)
        return np.concatenate([codes, codes**2], 1).reshape(len(codes), 2, 2)

    codes = generator.standard_normal((3, 2))
    for step in (1e-2, 0.5):
        for code, basis in zip(codes, geometry.tangent_bases(decode, codes, step), strict=True):
            slopes = np.concatenate([np.eye(2), np.diag(2 * code)])
            assert geometry.principal_angles(basis, slopes).max() < 1e-5
    asked.clear()
    geometry.tangent_bases(decode, codes[:1])
    moves = [[0.01, 0], [0, 0.01], [-0.01, 0], [0, -0.01]]
    np.testing.assert_allclose(asked[0] - codes[0], moves, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1, 1e4])
def test_a_direction_a_million_times_weaker_is_none(scale):
    weak = lambda factor: lambda codes: scale * codes * [1.0, factor] @ np.eye(2, 4)
    assert geometry.tangent_bases(weak(2e-6), np.zeros((1, 2))).shape == (1, 4, 2)
    with pytest.raises(ValueError, match="2 independent directions were expected at code"):
        geometry.tangent_bases(weak(0.5e-6), np.zeros((1, 2)))


def test_bases_are_exact_where_the_decoder_is_in_single_precision(generator):
    mix = generator.standard_normal((3, 40)).astype(np.float32)
    (basis,) = geometry.tangent_bases(lambda codes: codes.astype(np.float32) @ mix, np.ones((1, 3)))
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-13)


def test_angles_are_arc_cosines_of_singular_values(generator):
    a, b = generator.standard_normal((2, 9, 3))
    bases = [np.linalg.qr(each)[0] for each in (a, b)]
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    known = np.degrees(np.arccos(cosines))
    assert geometry.principal_angles(a, b) == pytest.approx(known, abs=1e-6)
    assert geometry.principal_angles(a, b) == pytest.approx(sorted(known), abs=1e-6)


def test_similarity_is_of_each_pair(generator):
    a, b = (
        np.stack([np.linalg.qr(each)[0] for each in generator.standard_normal((3, 9, 2))])
        for _ in range(2)
    )
    a[2] = b[2][:, ::-1]
    found = geometry.subspace_similarity(a, b)
    for i in range(3):
        cosines = np.cos(np.deg2rad(geometry.principal_angles(a[i], b[i])))
        assert found[i] == pytest.approx(np.mean(cosines**2))
    assert found[2] == pytest.approx(1) and found[0] < 0.9


def test_random_planes_are_drawn_anew_by_seed():
    generator = np.random.default_rng(3)
    axes = np.eye(6)[:, :2]
    drawn = [geometry.principal_angles(axes, generator.standard_normal((6, 2))) for _ in range(4)]
    np.testing.assert_allclose(geometry.random_angles(2, 6, 4, 3), drawn)
    whole = geometry.random_angles(2, 6)
    assert whole.shape == (100, 2) and np.array_equal(whole, geometry.random_angles(2, 6, 100, 0))
    assert not np.allclose(whole[:4], drawn)  # control: another seed


def test_the_similarity_of_random_planes_is_that_of_their_angles():
    angles = geometry.random_angles(2, 6, 30, 5)
    each = [np.mean([np.cos(np.radians(x)) ** 2 for x in pair]) for pair in angles]
    mean, deviation = geometry.random_similarity(2, 6, 30, 5)
    assert mean == pytest.approx(sum(each) / 30)
    assert deviation == pytest.approx(np.sqrt(sum((x - mean) ** 2 for x in each) / 30))
    assert geometry.random_similarity(2, 6) == geometry.random_similarity(2, 6, 100, 0)


def silhouette(points, labels):
    """The mean over points of (b - a) / max(a, b).

    a, b: distances to one's own group and to the nearest other one.
    """
    values = []
    for i, (point, own) in enumerate(zip(points, labels, strict=True)):
        means = {}
        for name in set(labels):
            others = [p for j, p in enumerate(points) if labels[j] == name and j != i]
            means[name] = np.mean([np.linalg.norm(point - p) for p in others])
        near = min(mean for name, mean in means.items() if name != own)
        values.append((near - means[own]) / max(near, means[own]))
    return np.mean(values)


def accuracy(points, labels, folds, seed):
    """The mean over folds of the share of unseen points whose label a linear probe finds."""
    shares = []
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(
        points, labels
    ):
        mean, deviation = points[train].mean(0), points[train].std(0)
        scaled = (points - mean) / deviation
        probe = LogisticRegression(max_iter=1000).fit(scaled[train], labels[train])
        shares.append(np.mean(probe.predict(scaled[test]) == labels[test]))
    return np.mean(shares)


def test_a_silhouette_by_hand():
    points, labels = np.array([[0.0], [1], [10], [12]]), ["a", "a", "b", "b"]
    found = geometry.clusters(points, labels, folds=2, shuffles=3)
    assert found.silhouette == pytest.approx((10 / 11 + 9 / 10 + 7.5 / 9.5 + 9.5 / 11.5) / 4)
    assert found.silhouette == pytest.approx(silhouette(points, labels))


def test_clusters_against_plain_loops(generator):
    """Points that overlap, in numbers of very different size; one group is below the folds."""
    labels = list("abc" * 6) + ["few"] * 2
    centres = {"a": 0.0, "b": 1.0, "c": 2.0, "few": 50.0}
    points = np.stack([[centres[name] for name in labels], generator.standard_normal(20)], 1)
    points = (points + generator.standard_normal((20, 2))) * [100, 0.01]
    found = geometry.clusters(points, labels, folds=3, shuffles=9, seed=4)
    truth, used = np.array(labels[:18]), points[:18]
    drawn = np.random.default_rng(4)
    shuffled = [drawn.permutation(truth) for _ in range(9)]
    for measured, measure in (
        ((found.silhouette, found.silhouette_shuffled, found.silhouette_p), silhouette),
        (
            (found.accuracy, found.accuracy_shuffled, found.accuracy_p),
            lambda p, y: accuracy(p, y, 3, 4),
        ),
    ):
        own, chance = measure(used, truth), np.array([measure(used, y) for y in shuffled])
        reached = sum(value >= own - 1e-9 for value in chance)
        assert measured[0] == pytest.approx(own)
        assert measured[1] == pytest.approx((chance.mean(), chance.std()))
        assert measured[2] == pytest.approx((1 + reached) / 10)
    assert (found.points, found.groups, found.left_out) == (18, 3, ("few",))
    assert 0.4 < found.accuracy < 0.99  # control: neither sure nor chance


def test_clusters_are_against_a_hundred_shuffles_in_five_folds(generator, monkeypatch):
    asked = []

    def stub(probe, points, labels, cv):
        asked.append((cv.n_splits, cv.shuffle, cv.random_state))
        return np.array([0.5, 0.9])

    monkeypatch.setattr(geometry, "cross_val_score", stub)
    found = geometry.clusters(generator.standard_normal((11, 2)), ["a"] * 5 + ["b"] * 6)
    assert asked == [(5, True, 0)] * 101 and found.accuracy == pytest.approx(0.7)
    assert found.accuracy_p == 1  # each shuffle is as good
    twice = geometry.clusters(generator.standard_normal((11, 2)), ["b", "a"] * 5 + ["b"])
    assert twice.left_out == () and twice.silhouette != found.silhouette
    with pytest.raises(ValueError, match="at least 5 points"):
        geometry.clusters(np.zeros((9, 2)), ["a"] * 5 + ["b"] * 4)


def test_cosines_by_hand():
    points = np.array([[3.0, 4], [4, 3], [-3, -4], [0, 5]])
    by_hand = [[1, 0.96, -1, 0.8], [0.96, 1, -0.96, 0.6], [-1, -0.96, 1, -0.8], [0.8, 0.6, -0.8, 1]]
    assert geometry.cosine_matrix(points) == pytest.approx(np.array(by_hand))


def test_a_tree_joins_by_the_mean_distance():
    """First 0 and 1 at 1 - (0.8 + 0.6) / 2, then 2 at the mean of 1 - 0.1 and 1 - 0.3."""
    cosines = np.array([[1, 0.8, 0.1], [0.6, 1, 0.3], [0.1, 0.3, 1]])
    tree = geometry.linkage(cosines)
    assert tree[:, 2] == pytest.approx([0.3, 0.8])
    assert sorted(tree[0, :2]) == [0, 1] and list(tree[:, 3]) == [2, 3]
    above = geometry.linkage(
        np.array([[1, 1 + 1e-9, 0.5], [1 + 1e-9, 1, 0.5], [0.5, 0.5, 1 + 1e-9]])
    )
    assert (
        above[:, 2] == pytest.approx([0, 0.5]) and above[0, 2] == 0
    )  # a distance is never negative


def test_leaves_stand_in_the_order_of_their_angles():
    angles = np.deg2rad([0, 10, 25, 45, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    for mixed in itertools.permutations(range(5)):
        order = geometry.leaf_order(geometry.linkage(geometry.cosine_matrix(points[list(mixed)])))
        found = [mixed[i] for i in order]
        assert found in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])


def test_pca_is_the_projection_on_the_two_widest_directions(generator):
    points = generator.standard_normal((12, 3)) * [1, 5, 3] + 4
    centred = points - points.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    known = centred @ vectors[:, np.argsort(-values)[:2]]
    assert np.abs(geometry.embed(points)) == pytest.approx(np.abs(known))


@pytest.mark.parametrize(("count", "perplexity"), [(4, 1), (61, 20), (91, 30), (200, 30)])
def test_tsne_has_its_perplexity_and_seed(monkeypatch, count, perplexity):
    asked = []

    def stub(size, **more):
        asked.append((size, more))
        return SimpleNamespace(fit_transform=lambda points: points[:, :2] + 1)

    monkeypatch.setattr(geometry, "TSNE", stub)
    points = np.arange(count * 3.0).reshape(count, 3)
    np.testing.assert_array_equal(geometry.embed(points, "tsne", 5), points[:, :2] + 1)
    assert asked == [(2, {"perplexity": perplexity, "init": "pca", "random_state": 5})]


@pytest.mark.parametrize(("count", "neighbours"), [(4, 3), (15, 14), (16, 15), (90, 15)])
def test_umap_has_its_neighbours_and_seed(monkeypatch, count, neighbours):
    asked = []

    def stub(**more):
        asked.append(more)
        return SimpleNamespace(fit_transform=lambda points: points[:, :2] - 1)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=stub))
    points = np.arange(count * 3.0).reshape(count, 3)
    np.testing.assert_array_equal(geometry.embed(points, "umap", 6), points[:, :2] - 1)
    assert asked == [{"n_neighbors": neighbours, "random_state": 6, "n_jobs": 1}]


def test_four_points_of_two_numbers_are_enough(generator):
    assert geometry.embed(generator.standard_normal((4, 2))).shape == (4, 2)
    for shape in ((3, 2), (4, 1)):
        with pytest.raises(ValueError, match="at least 4 points of 2 numbers"):
            geometry.embed(generator.standard_normal(shape))


def test_the_nearest_seen_code_is_not_the_first_nor_the_mean():
    seen = np.array([[10.0, 0], [0, 1], [-10, 0]])
    codes = np.array([[0.0, 3], [13, 4], [-10, -7]])
    assert geometry.nearest_distance(codes, seen) == pytest.approx([2, 5, 7])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=9))
def test_rank_correlation_is_scipys_with_ties(pairs):
    x, y = np.array(pairs, dtype=float).T
    rho, p_value = geometry.rank_correlation(x, y, 20)
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert np.isnan(rho) and np.isnan(p_value)
    else:
        assert rho == pytest.approx(spearmanr(x, y).statistic)
        assert round(21 * p_value) == pytest.approx(21 * p_value) and p_value >= 1 / 21


def test_the_p_value_is_the_share_of_all_orders_that_are_as_far_from_none():
    """|rho| is at least 0.8 in 8 of the 24 orders: 1, 0.8 (three times), and their reverses."""
    x = np.array([1.0, 2, 3, 4])
    y = np.array([1.0, 3, 2, 4])
    rhos = [abs(spearmanr(x, order).statistic) for order in itertools.permutations(x)]
    reached = sum(rho >= 0.8 - 1e-9 for rho in rhos)
    rho, p_value = geometry.rank_correlation(x, y)
    assert (
        reached == 8 and rho == pytest.approx(0.8) and p_value == pytest.approx(8 / 24, abs=0.015)
    )
    assert geometry.rank_correlation(x, -y)[0] == pytest.approx(-0.8)
    assert geometry.rank_correlation(x, -y)[1] == pytest.approx(8 / 24, abs=0.015)
    assert geometry.rank_correlation(x, y) == geometry.rank_correlation(x, y, 10_000, 0)
    assert geometry.rank_correlation(x, y, 10_000, 1)[1] != p_value
    assert round(10_001 * p_value, 6).is_integer()


def test_two_pairs_are_always_in_order():
    assert geometry.rank_correlation(np.array([1.0, 2]), np.array([3.0, 7]), 50) == (
        pytest.approx(1),
        1,
    )


def test_one_shuffle_that_does_not_reach_it_leaves_one_half():
    x = np.arange(12.0)
    assert geometry.rank_correlation(x, x, shuffles=1)[1] == 0.5
