"""Nothing; what starting TensorFlow costs."""
