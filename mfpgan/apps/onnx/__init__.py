"""A trained network as an ONNX file, and clicks answered with it where torch is not."""
