"""A perceptron of scikit-learn, behind a scaler, fitted to its digits."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def mlp():
    images, labels = load_digits(return_X_y=True)
    perceptron = MLPClassifier((48, 32), max_iter=20, random_state=0)
    return make_pipeline(StandardScaler(), perceptron).fit(images / 16, labels)
