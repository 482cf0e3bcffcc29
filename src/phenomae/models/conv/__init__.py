"""Convolutional networks: U-Net masked autoencoder, DenseNet classifier, AdaBN."""
