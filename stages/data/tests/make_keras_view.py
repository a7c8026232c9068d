"""Prints the numbers in stages/import/copies.rs: an image as Keras' ImageDataGenerator turns it after `np.random.seed(1)`.

    pip install numpy==2.4.6 scipy==1.17.1
    python make_keras_view.py

Keras itself is not needed: these are the draws and the affine map that it makes.
"""

import numpy as np
from scipy import ndimage

H, W = 6, 9
image = np.array(
    [[[(7 * y * y + 5 * x * x + 60 * c + 3 * x * y) % 256 for c in range(3)] for x in range(W)] for y in range(H)],
    dtype=np.float32,
)
np.random.seed(1)
theta = np.deg2rad(np.random.uniform(-40, 40))
tx, ty = np.random.uniform(-0.2, 0.2) * H, np.random.uniform(-0.2, 0.2) * W
shear = np.deg2rad(np.random.uniform(-0.2, 0.2))
zx, zy = np.random.uniform(0.8, 1.2, 2)
mirror = np.random.random() < 0.5

turn = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
centre = lambda sign: np.array([[1, 0, sign * (H / 2 - 0.5)], [0, 1, sign * (W / 2 - 0.5)], [0, 0, 1]])
matrix = centre(1) @ turn @ shift @ slant @ np.diag([zx, zy, 1]) @ centre(-1)
channels = [
    ndimage.affine_transform(image[:, :, c], matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest") for c in range(3)
]
result = np.stack(channels, -1)
if mirror:
    result = result[:, ::-1]
result = result.astype(np.uint8)
print(result[:, :, 1].tolist(), result.astype(int).sum())
