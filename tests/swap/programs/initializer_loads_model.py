# start methods: fork spawn
# slow: others tell more of the same
"""An initializer loads a model once per process into a global; predictions leave statistics in it."""

from pool import Executor


class Model:
    loaded = 0

    def __init__(self, weights):
        type(self).loaded += 1
        self.weights = weights
        self.predictions = 0

    def predict(self, row):
        self.predictions += 1
        return sum(weight * value for weight, value in zip(self.weights, row))


MODEL: "Model | None" = None


def load(weights):
    global MODEL
    MODEL = Model(weights)


def predict(row):
    return MODEL.predict(row)


def statistics():
    return Model.loaded, MODEL.predictions


if __name__ == "__main__":
    rows = [(1, 2), (3, 4), (5, 6)]
    with Executor(max_workers=1, initializer=load, initargs=((0.5, 2),)) as executor:
        print(list(executor.map(predict, rows)))
        print(executor.submit(statistics).result())
    print("here:", Model.loaded, MODEL)
