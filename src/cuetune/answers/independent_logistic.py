"""A linear probe for several labels: one logistic regression for each label, as an estimator of scikit-learn."""

from typing import Any

import numpy as np


class IndependentLogistic:
    """coef_: (C, d), intercept_: (C,). A label that all rows have, or none, gets its smoothed share of them alone."""

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.coef_: np.ndarray
        self.intercept_: np.ndarray

    def fit(self, features: np.ndarray, truth: np.ndarray) -> "IndependentLogistic":
        """features: (N, d). truth: (N, C) True where a row has the label."""
        from sklearn.linear_model import LogisticRegression

        self.coef_ = np.zeros((truth.shape[1], features.shape[1]))
        self.intercept_ = np.zeros(truth.shape[1])
        for label, wanted in enumerate(truth.T):
            if wanted.all() or not wanted.any():
                share = (wanted.sum() + 0.5) / (len(wanted) + 1)
                self.intercept_[label] = np.log(share / (1 - share))
                continue
            one = LogisticRegression(C=self.strength, max_iter=1000).fit(features, wanted)
            self.coef_[label], self.intercept_[label] = one.coef_[0], one.intercept_[0]
        return self

    def predict_proba(self, features: np.ndarray) -> Any:
        """(N, C) probability of each label."""
        return np.exp(-np.logaddexp(0.0, -(features @ self.coef_.T + self.intercept_)))
