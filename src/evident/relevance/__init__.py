"""VEBI's interpretation: responses -> Gram -> mu-lasso -> relevant features -> average visualisations."""

from evident.relevance.mu_lasso import mu_lasso
from evident.relevance.responses import responses

__all__ = ["mu_lasso", "responses"]
