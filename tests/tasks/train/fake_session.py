"""A slow engine for tests of the training task: softmax regression with momentum, in NumPy."""

import numpy as np

from cnncli.engine.session import Examined


class FakeSession:
    """Linear classifier on pixels scaled to 0..1."""

    def __init__(self, plan, poison_at=None, on_step=None):
        self.pixels = int(np.prod(plan.data.image_shape))
        self.classes = len(plan.data.classes)
        random = np.random.default_rng(plan.options.seed)
        self.parameters = random.normal(0, 0.01, self.pixels * self.classes).astype(np.float32)
        self.velocity = np.zeros_like(self.parameters)
        self.steps = 0
        self.poison_at = poison_at
        self.on_step = on_step

    def named(self):
        return {"fc1/weight": self.parameters.reshape(self.classes, self.pixels)}

    def optimizer_state(self):
        return {"velocity": self.velocity.copy(), "step": np.array([self.steps], np.int64)}

    def load_optimizer_state(self, state):
        self.velocity[:], self.steps = state["velocity"], int(state["step"][0])

    def _probabilities(self, images):
        x = images.reshape(len(images), -1).astype(np.float32) / 255
        logits = x @ self.named()["fc1/weight"].T
        e = np.exp(logits - logits.max(1, keepdims=True))
        return x, e / e.sum(1, keepdims=True)

    def train_batch(self, images, labels, indices, lr, key):
        self.steps += 1
        x, p = self._probabilities(images[indices])
        y = labels[indices]
        loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).sum()
        correct = int((p.argmax(1) == y).sum())
        p[np.arange(len(y)), y] -= 1
        self.velocity[:] = 0.9 * self.velocity - lr * (p.T @ x).ravel() / len(y)
        self.parameters += self.velocity
        if self.poison_at == key:
            return float("nan"), 0
        if self.on_step:
            self.on_step(key)
        return float(loss), correct

    def examine(self, images, labels):
        _, p = self._probabilities(images)
        losses = -np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-12)).astype(np.float64)
        return Examined(losses, (p.argmax(1) == labels).astype(np.int64), p, p)

    def evaluate(self, images, labels):
        found = self.examine(images, labels)
        return found.loss, found.acc

    def compile(self):
        """Nothing to compile."""

    def cancel(self):
        """Nothing here takes long."""

    def forget_cancel(self):
        """Nothing was cancelled."""

    def predict(self, images, indices=None):
        return self._probabilities(images if indices is None else images[indices])[1].astype(np.float32)

    def answer(self, images, indices=None):
        rows = self.predict(images, indices)
        return rows, np.log(rows)
