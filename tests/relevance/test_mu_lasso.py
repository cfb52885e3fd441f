"""The mu-lasso: optimality conditions, known answers, and three other solvers."""

import math

import numpy as np
import pytest
import spams
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls
from sklearn.linear_model import lars_path_gram

from evident.data.render.flowers import render
from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.relevance import mu_lasso
from evident.relevance import responses as network_responses

MUS = [1e-12, 0.01, 0.3, 1.0, 5.0, 10.0, 1e3, 1e7]
each_mu = pytest.mark.parametrize("mu", MUS)
each_seed = pytest.mark.parametrize("seed", range(5))


def random_problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random responses X (m, N), with N below or above m, and labels L (C, N)."""
    generator = np.random.default_rng(seed)
    responses = generator.random((40, [25, 120][seed % 2]))
    return responses, np.eye(3)[generator.integers(3, size=responses.shape[1])].T


def structured_problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return responses like those of networks: layers sum to one, images have norm one, classes excite features."""
    generator = np.random.default_rng(seed)
    label = np.arange(400) % 4
    blocks = []
    for features in (20, 40, 80):
        excited = (generator.random((4, features)) < 0.1) * 2
        usual = generator.normal(size=features)
        block = np.exp(usual + excited[label] * generator.random((400, 1)) + generator.normal(size=(400, features)) / 2)
        block *= generator.random((400, features)) > 0.3 * generator.random(features)
        blocks.append(block / block.sum(1, keepdims=True))
    responses = np.concatenate(blocks, 1)
    return (responses / np.linalg.norm(responses, axis=1, keepdims=True)).T, np.eye(4)[label].T


PROBLEMS = [random_problem, structured_problem]
each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.__name__)


def solved(responses, labels, mu) -> np.ndarray:
    return mu_lasso(responses @ responses.T, responses @ labels.T, mu)


def loss(responses, labels, weights) -> np.ndarray:
    return ((responses.T @ weights - labels.T) ** 2).sum(0)


def assert_optimal(responses, labels, mu, weights, tolerance=1e-10) -> None:
    """Check the Karush-Kuhn-Tucker conditions: w, lambda and nu are feasible, with complementary slackness."""
    assert weights.shape == (len(responses), len(labels))
    for w, label in zip(weights.T, labels, strict=True):
        scale = np.abs(responses @ label).max()
        descent = np.array([row @ (label - responses.T @ w) for row in responses])
        multiplier = max(descent.max(), 0)  # lambda of sum(w) <= mu
        bound = multiplier - descent  # nu of w >= 0: the difference to lambda
        assert (w >= 0).all()
        assert w.sum() <= mu * (1 + 1e-12)
        assert multiplier * (1 - w.sum() / mu) <= tolerance * scale
        assert bound[w > 0].max(initial=0) <= tolerance * scale


# The optimum


@each_problem
@each_seed
@each_mu
def test_weights_are_optimal(problem, seed, mu):
    responses, labels = problem(seed)
    assert_optimal(responses, labels, mu, solved(responses, labels, mu))


small_numbers = st.integers(0, 3)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(st.data())
def test_weights_are_optimal_with_ties_and_dependent_features(data):
    features, images = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 6))
    responses = data.draw(arrays(float, (features, images), elements=small_numbers))
    label = data.draw(arrays(float, (1, images), elements=st.integers(0, 1)))
    mu = data.draw(st.sampled_from(MUS))
    if not (responses @ label.T).any():
        return
    assert_optimal(responses, label, mu, solved(responses, label, mu))


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(1e-3, 1e3), st.floats(-6, 6))
def test_weights_are_optimal_at_any_rank_and_scale(seed, rank, mu, exponent):
    generator = np.random.default_rng(seed)
    responses = generator.random((12, rank)) @ generator.random((rank, 9)) * 10**exponent
    label = np.eye(9)[:1]
    assert_optimal(responses, label, mu, solved(responses, label, mu))


@each_mu
def test_weights_are_optimal_for_negative_responses(mu):
    generator = np.random.default_rng(0)
    responses, labels = generator.normal(size=(30, 20)), generator.normal(size=(3, 20))
    assert_optimal(responses, labels, mu, solved(responses, labels, mu))


@each_mu
@each_seed
def test_weights_are_optimal_for_nearly_equal_features_up_to_rounding(seed, mu):
    generator = np.random.default_rng(seed)
    responses = generator.random((6, 30)).repeat(6, axis=0) + 1e-8 * generator.random((36, 30))
    label = np.eye(3)[:1].repeat(10, axis=1)
    assert_optimal(responses, label, mu, solved(responses, label, mu), tolerance=1e-7)


def test_all_features_may_have_weight():
    responses = np.random.default_rng(0).normal(size=(100, 150))
    labels = (responses * np.linspace(1, 2, 100)[:, None]).sum(0, keepdims=True)
    np.testing.assert_allclose(solved(responses, labels, mu=200.0)[:, 0], np.linspace(1, 2, 100), rtol=1e-9)
    assert_optimal(responses, labels, 100.0, solved(responses, labels, mu=100.0))


# Known answers


def test_feature_equal_to_the_label_gets_the_weight():
    labels = np.eye(3).repeat(2, axis=1)
    np.testing.assert_allclose(solved(labels, labels, mu=1.0), np.eye(3), atol=1e-15)
    np.testing.assert_allclose(solved(labels, labels, mu=0.25), np.eye(3) / 4, atol=1e-15)


def test_weights_of_very_different_scales_are_found():
    # Each image has its own feature; one needs 1e5 times the weight of the other, or 1e-9 of it.
    np.testing.assert_allclose(solved(np.diag([1.0, 1e-5]), np.ones((1, 2)), mu=1e6)[:, 0], [1, 1e5], rtol=1e-9)
    np.testing.assert_allclose(solved(np.eye(2), np.array([[1.0, 1e-9]]), mu=2.0)[:, 0], [1, 1e-9], rtol=1e-9)


@each_problem
@pytest.mark.parametrize("mu", [1e-12, 1e-100, 5e-324])
def test_tiny_mu_is_given_to_the_feature_with_the_largest_cross_product(problem, mu):
    responses, labels = problem(0)
    weights = solved(responses, labels, mu)
    expected = np.zeros_like(weights)
    expected[(responses @ labels.T).argmax(0), range(len(labels))] = mu
    np.testing.assert_allclose(weights, expected, rtol=1e-15)


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_large_mu_gives_non_negative_least_squares(seed):
    responses, labels = random_problem(seed)
    theirs = np.stack([nnls(responses.T, label)[0] for label in labels], axis=1)
    for mu in (theirs.sum(0).max() * 1.01, 1e3, 1e7):
        np.testing.assert_allclose(solved(responses, labels, mu), theirs, atol=1e-9)


def test_bound_may_be_active_on_the_way_and_inactive_at_the_optimum():
    # Row 3 joins first, then row 2; the optimum of both exceeds mu. With row 1 the sum is below mu again.
    responses = np.array([[0.0, 0.0, 0.0], [3.0, 2.0, 2.0], [1.0, 2.0, 1.0], [4.0, 3.0, 4.0]])
    label = np.array([[1.0, 1.0, 0.0]])
    assert nnls(responses[[3, 2]].T, label[0])[0].sum() > 0.45
    np.testing.assert_allclose(solved(responses, label, 0.45)[:, 0], [0, 1 / 7, 2 / 7, 0], atol=1e-15)


@each_problem
@each_mu
def test_duplicated_feature_does_not_change_the_solution(problem, mu):
    responses, labels = problem(1)
    doubled = solved(np.concatenate([responses, responses[::2]]), labels, mu)
    weights, again = doubled[: len(responses)], doubled[len(responses) :]
    assert not ((weights[::2] > 0) & (again > 0)).any()
    weights[::2] += again
    np.testing.assert_allclose(weights, solved(responses, labels, mu), atol=1e-9 * min(mu, 1))


@each_problem
@each_mu
def test_zero_feature_has_no_weight(problem, mu):
    responses, labels = problem(1)
    weights = solved(np.concatenate([np.zeros((2, responses.shape[1])), responses, 0 * responses[:3]]), labels, mu)
    np.testing.assert_allclose(weights[2:-3], solved(responses, labels, mu), atol=1e-9 * min(mu, 1))
    assert not weights[:2].any()
    assert not weights[-3:].any()


def test_sum_of_features_replaces_them_if_mu_binds():
    # The third feature is the sum of both, and gives the same responses with half the weight.
    responses = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(solved(responses, np.ones((1, 2)), mu=0.8)[:, 0], [0, 0, 0.8], atol=1e-15)


# Other solvers


def spams_lasso(responses, labels, mu) -> np.ndarray:
    gram, cross, signals = (np.asfortranarray(a) for a in (responses @ responses.T, responses @ labels.T, labels.T))
    return spams.lasso(signals, Q=gram, q=cross, lambda1=mu, mode=0, pos=True, numThreads=1).toarray()


@each_problem
@each_seed
@pytest.mark.parametrize("mu", [mu for mu in MUS if 0.01 <= mu <= 1e3])
def test_loss_and_support_equal_spams(problem, seed, mu):
    responses, labels = problem(seed)
    ours, theirs = solved(responses, labels, mu), spams_lasso(responses, labels, mu)
    np.testing.assert_allclose(loss(responses, labels, ours), loss(responses, labels, theirs), rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(ours > 0, theirs > 0)


@pytest.fixture(scope="module")
def of_flowers() -> tuple[np.ndarray, np.ndarray]:
    """Return responses of a FlowerNet, trained for a few steps, to rendered flowers, and their labels."""
    flowers = render("single-6c", "mu-lasso", range(90), size=64)
    images, labels = flowers.images.float() / 255, flowers.labels
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FlowerNet(6)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
        for _ in range(12):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimiser.step()
    x = network_responses(network.eval(), images, "all")
    return x.double().T.numpy(), np.eye(6)[labels.numpy()].T


@pytest.mark.parametrize("mu", [1.0, 5.0, 10.0, 20.0])
def test_loss_and_support_equal_spams_on_real_responses(of_flowers, mu):
    responses, labels = of_flowers
    ours, theirs = solved(responses, labels, mu), spams_lasso(responses, labels, mu)
    np.testing.assert_allclose(loss(responses, labels, ours), loss(responses, labels, theirs), rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(ours > 1e-9, theirs > 1e-9)


@each_problem
@each_seed
def test_weights_are_on_the_path_of_scikit_learn_if_mu_binds(problem, seed):
    responses, labels = problem(seed)
    for label in labels:
        cross = responses @ label
        path = lars_path_gram(cross, responses @ responses.T, n_samples=len(label), method="lasso", positive=True)[2]
        sums = path.sum(0)
        for mu in sums.max() * np.array([0.05, 0.4, 0.8]):
            after = np.searchsorted(sums, mu)
            share = (mu - sums[after - 1]) / (sums[after] - sums[after - 1])
            theirs = (1 - share) * path[:, after - 1] + share * path[:, after]
            np.testing.assert_allclose(solved(responses, label[None], mu)[:, 0], theirs, atol=1e-9)


# Errors


@pytest.mark.parametrize("mu", [0, -1, math.nan, math.inf])
def test_invalid_mu_is_named(mu):
    with pytest.raises(UserError, match=f"mu={mu}"):
        mu_lasso(np.eye(2), np.ones((2, 1)), mu)


@pytest.mark.parametrize(
    ("gram", "cross"), [((2, 3), (2, 1)), ((3, 3), (2, 1)), ((2, 2), (2,)), ((2,), (2, 1)), ((2, 2), (2, 0))]
)
def test_shapes_that_do_not_fit_are_named(gram, cross):
    with pytest.raises(UserError, match="do not fit"):
        mu_lasso(np.ones(gram), np.ones(cross), 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["gram", "cross"])
def test_non_finite_entries_are_named(name, value):
    given = {"gram": np.eye(2), "cross": np.ones((2, 3))}
    given[name][1, 0] = value
    with pytest.raises(UserError, match=f"{name} has entries"):
        mu_lasso(**given, mu=1.0)


def test_classes_without_images_are_named():
    responses, labels = random_problem(0)
    labels[[0, 2]] = 0
    with pytest.raises(UserError, match="no images of class 0, 2;"):
        solved(responses, labels, 1.0)


def test_gram_that_is_no_gram_matrix_is_an_error():
    gram = np.array([[3.0, 3.0, -1.0], [-2.0, 3.0, 2.0], [3.0, 1.0, -1.0]])
    with pytest.raises(UserError, match="not X X"):
        mu_lasso(gram, np.array([[0.0], [1.0], [-3.0]]), 1.0)
