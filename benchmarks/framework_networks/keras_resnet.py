"""A ResNet-14 of Keras 3, on any of its backends, and the same as a SavedModel and as a TensorFlow Lite file."""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers


def block(x, width, stride):
    y = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(y))
    if stride != 1 or x.shape[-1] != width:
        x = layers.BatchNormalization()(layers.Conv2D(width, 1, stride, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([x, y]))


def resnet(width=8, classes=10):
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for stage in range(3):
        x = block(block(x, width << stage, 2 if stage else 1), width << stage, 1)
    return keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def saved_model(folder: str) -> None:
    resnet().export(folder)


def tflite(path: str) -> None:
    import tensorflow as tf

    Path(path).write_bytes(tf.lite.TFLiteConverter.from_keras_model(resnet()).convert())
