"""The geometry of codes on planted data, and on data with nothing to find."""

import sys

import numpy as np
import pytest

from ipt.analysis import geometry


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def blobs(generator, groups=3, each=12, size=4, apart=6.0):
    """Return points [N, size] around a centre for each group, and their labels."""
    centres = apart * generator.standard_normal((groups, size))
    labels = [f"g{i}" for i in range(groups) for _ in range(each)]
    return np.repeat(centres, each, 0) + generator.standard_normal((groups * each, size)), labels


def test_spectrum_counts_the_planted_directions(generator):
    plane = (
        generator.standard_normal((500, 3)) @ np.linalg.qr(generator.standard_normal((40, 3)))[0].T
    )
    shares = geometry.spectrum(plane + 7)  # a shift is no variance
    assert shares[:3].sum() == pytest.approx(1) and (np.diff(shares) <= 0).all()
    assert (
        geometry.effective_dimension(shares) == pytest.approx(3, rel=0.05)
        and geometry.components_for(shares) == 3
    )
    everywhere = geometry.spectrum(generator.standard_normal((2000, 40)))  # control: no plane
    assert (
        geometry.effective_dimension(everywhere) > 35 and geometry.components_for(everywhere) > 30
    )


def test_effective_dimension_by_hand():
    assert geometry.effective_dimension(np.full(5, 0.2)) == pytest.approx(5)
    assert geometry.effective_dimension(np.array([1.0, 0, 0])) == 1
    assert (
        geometry.components_for(np.array([0.5, 0.4, 0.1])) == 2
        and geometry.components_for(np.array([0.5, 0.4, 0.1]), 0.91) == 3
    )
    with pytest.raises(ValueError, match="points that differ were expected, found 3 equal"):
        geometry.spectrum(np.ones((3, 4)))


def test_tangents_of_a_known_surface(generator):
    mix = generator.standard_normal((3, 30))
    codes = generator.standard_normal((4, 3))
    flat = geometry.tangent_bases(lambda z: (z @ mix).reshape(-1, 5, 6), codes)
    assert flat.shape == (4, 30, 3) and np.allclose(np.swapaxes(flat, 1, 2) @ flat, np.eye(3))
    assert max(geometry.principal_angles(basis, mix.T).max() for basis in flat) < 1e-5
    assert geometry.subspace_similarity(flat[:2], flat[2:]) == pytest.approx(
        1
    )  # a plane has one tangent space
    curved = geometry.tangent_bases(lambda z: np.concatenate([z, z**2], 1), codes)
    slopes = np.concatenate([np.eye(3), np.diag(2 * codes[0])])
    assert geometry.principal_angles(curved[0], slopes).max() < 1e-5
    assert (
        geometry.subspace_similarity(curved[:2], curved[2:]) < 0.99
    ).all()  # control: a curved surface has many


def test_a_surface_of_fewer_directions_is_an_error():
    with pytest.raises(ValueError, match="2 independent directions were expected"):
        geometry.tangent_bases(lambda z: z[:, :1] * np.ones((1, 6)), np.zeros((1, 2)))


def test_principal_angles_by_hand():
    a, b = np.eye(4, 2), np.zeros((4, 2))
    b[0, 0], b[1, 1], b[2, 1] = 1, np.cos(np.pi / 6), np.sin(np.pi / 6)
    assert geometry.principal_angles(a, b) == pytest.approx([0, 30], abs=1e-6)
    assert geometry.subspace_similarity(a[None], b[None]) == pytest.approx((1 + 0.75) / 2)


def test_random_subspaces_share_little(generator):
    mean, deviation = geometry.random_similarity(3, 60, draws=200)
    assert mean == pytest.approx(3 / 60, rel=0.1) and 0 < deviation < 0.05
    assert geometry.random_similarity(3, 60, draws=5) == geometry.random_similarity(3, 60, draws=5)
    drawn = [np.linalg.qr(generator.standard_normal((200, 60, 3)))[0] for _ in range(2)]
    assert geometry.subspace_similarity(*drawn).mean() == pytest.approx(
        mean, rel=0.1
    )  # one fixed subspace is enough
    angles = geometry.random_angles(3, 60, draws=20)
    assert (
        angles.shape == (20, 3)
        and (np.diff(angles) > 0).all()
        and 45 < angles.min() < angles.max() <= 90
    )


def test_planted_clusters_are_found_and_shuffled_labels_are_not(generator):
    points, labels = blobs(generator)
    found = geometry.clusters(
        [*points, points[0]] @ np.eye(4), [*labels, "alone"], folds=4, shuffles=20
    )
    assert found.accuracy > 0.95 and found.silhouette > 0.5
    assert found.accuracy_p == found.silhouette_p == pytest.approx(1 / 21)
    assert (found.points, found.groups, found.left_out) == (36, 3, ("alone",))
    assert (
        found.accuracy_shuffled[0] == pytest.approx(1 / 3, abs=0.12)
        and found.silhouette_shuffled[0] < 0.05
    )
    chance = geometry.clusters(points, list(generator.permutation(labels)), folds=4, shuffles=20)
    assert chance.accuracy < 0.6 and chance.accuracy_p > 0.05 and chance.silhouette_p > 0.05


def test_groups_smaller_than_the_folds_are_an_error_where_none_remain(generator):
    with pytest.raises(
        ValueError,
        match=r"two groups of at least 5 points were expected, found .*'b': 2.*fewer folds",
    ):
        geometry.clusters(generator.standard_normal((8, 2)), ["a"] * 6 + ["b"] * 2)


def test_like_points_are_neighbours_in_the_order(generator):
    points, labels = blobs(generator, size=20)
    mixed = generator.permutation(len(points))
    cosines = geometry.cosine_matrix(points[mixed])
    order = geometry.leaf_order(geometry.linkage(cosines))
    names = [labels[mixed[i]] for i in order]
    assert (
        sorted(order) == list(range(36))
        and sum(a != b for a, b in zip(names, names[1:], strict=False)) == 2
    )
    assert cosines.shape == (36, 36) and np.diag(cosines) == pytest.approx(1)
    assert geometry.cosine_matrix(np.array([[1.0, 0], [0, 2], [-3, 0], [0, 0]]))[
        0
    ] == pytest.approx([1, 0, -1, 0])


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embeddings_keep_planted_clusters_apart(generator, method):
    points, labels = blobs(generator, each=6, apart=10)
    flat = geometry.embed(points, method)
    centres = np.stack([flat[[name == g for name in labels]].mean(0) for g in sorted(set(labels))])
    nearest = np.linalg.norm(flat[:, None] - centres, axis=2).argmin(1)
    assert flat.shape == (18, 2) and list(nearest) == [int(name[1]) for name in labels]
    assert np.array_equal(flat, geometry.embed(points, method)) and geometry.embed(
        points[:4], method
    ).shape == (4, 2)


def test_embeddings_that_cannot_be(generator, monkeypatch):
    points = generator.standard_normal((6, 3))
    with pytest.raises(ValueError, match="pca, tsne or umap was expected, found t-SNE"):
        geometry.embed(points, "t-SNE")
    with pytest.raises(ValueError, match="at least 4 points of 2 numbers"):
        geometry.embed(points[:3])
    monkeypatch.setitem(sys.modules, "umap", None)  # as where the package is not there
    with pytest.raises(ValueError, match="pip install"):
        geometry.embed(points, "umap")


def test_distance_to_the_nearest_seen_code():
    seen = np.array([[0.0, 0], [10, 0]])
    assert geometry.nearest_distance(np.array([[3.0, 4], [9, 0], [10, 0]]), seen) == pytest.approx(
        [5, 1, 0]
    )


def test_rank_correlation_of_planted_and_shuffled_pairs(generator):
    x = generator.uniform(size=30)
    rho, p_value = geometry.rank_correlation(x, np.exp(-5 * x))
    assert rho == pytest.approx(-1) and p_value < 0.001
    assert geometry.rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4]), 5000)[
        0
    ] == pytest.approx(0.8)
    p_values = [
        geometry.rank_correlation(*generator.standard_normal((2, 15)), shuffles=200)[1]
        for _ in range(200)
    ]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(
        0.1, abs=0.06
    )  # control: right under no relation
    for values in (np.ones(30), np.full(30, np.nan)):
        assert np.isnan(geometry.rank_correlation(x, values)).all()
