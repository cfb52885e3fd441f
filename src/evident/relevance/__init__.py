"""Relevant features of a network (VEBI): responses -> Gram matrix -> mu-lasso -> features -> average visualisations."""

from evident.relevance.mu_lasso import mu_lasso
from evident.relevance.responses import responses

__all__ = ["mu_lasso", "responses"]
