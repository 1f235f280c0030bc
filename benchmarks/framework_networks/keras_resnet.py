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


def habits():
    """What Keras' exports are known for: constants of a normalisation, an exact GELU, two inputs, two outputs."""
    image, more = layers.Input((8, 8, 3)), layers.Input((4,))
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(layers.Rescaling(1 / 255)(image))
    x = keras.activations.gelu(layers.Conv2D(8, 3)(x), approximate=False)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.Dense(8)(more)])
    return keras.Model([image, more], [layers.Dense(3)(x), layers.Dense(2)(x)])


def saved_model(folder: str) -> None:
    resnet().export(folder)


def tflite(path: str) -> None:
    import tensorflow as tf

    Path(path).write_bytes(tf.lite.TFLiteConverter.from_keras_model(resnet()).convert())
