"""What the agents of the small data-science team may write: a few steps over train.csv and test.csv, standard library only.

prepare() reads and cleans both tables; save(name=value, ...) leaves name.pkl; fit(kind) learns from X_train.pkl and
y_train.pkl and leaves model.pkl; predict(form) applies model.pkl to X_test.pkl; submit(predictions, columns) writes
submission.csv. No step looks at anything but the files of the play.
"""

# The C part alone, and tables without quotes: to import pickle and csv would take longer than everything else here.
from _pickle import dump, load


def _table(path):
    with open(path) as file:
        header, *rows = (line.rstrip("\n").split(",") for line in file)
    return [dict(zip(header, row)) for row in rows]


def _load(name):
    with open(name, "rb") as file:
        return load(file)


def names():
    """The id column and the targets: what test.csv begins with, and what it lacks."""
    train, test = _table("train.csv")[0], _table("test.csv")[0]
    return [next(iter(test))] + [column for column in train if column not in test]


def prepare():
    """Features of both tables, standardised by train.csv alone, and the targets by name."""
    train, test = _table("train.csv"), _table("test.csv")
    identity, *targets = names()
    features = [column for column in test[0] if column != identity]
    columns = []
    for name in features:
        cells = [row[name] for row in train]
        filled = [cell for cell in cells if cell != ""]
        try:
            numbers = [float(cell) for cell in filled]
        except ValueError:
            for value in sorted(set(filled)):
                columns.append(lambda row, name=name, value=value: float(row[name] == value))
            continue
        mean = sum(numbers) / len(numbers)
        spread = (sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5 or 1.0
        columns.append(
            lambda row, name=name, mean=mean, spread=spread: ((float(row[name]) if row[name] else mean) - mean) / spread
        )
    x = [[1.0] + [column(row) for column in columns] for row in train]
    t = [[1.0] + [column(row) for column in columns] for row in test]
    y = {target: [row[target] for row in train] for target in targets}
    return x, y, t


def save(**values):
    for name, value in values.items():
        with open(f"{name}.pkl", "wb") as file:
            dump(value, file)


def _solve(rows, goals):
    """Least squares with a little shrinkage, by Gaussian elimination."""
    size = len(rows[0])
    matrix = [[sum(row[i] * row[j] for row in rows) + (0.1 if i == j else 0) for j in range(size)] for i in range(size)]
    right = [sum(row[i] * goal for row, goal in zip(rows, goals)) for i in range(size)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda at: abs(matrix[at][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        right[i], right[pivot] = right[pivot], right[i]
        for j in range(i + 1, size):
            factor = matrix[j][i] / matrix[i][i]
            for k in range(i, size):
                matrix[j][k] -= factor * matrix[i][k]
            right[j] -= factor * right[i]
    weights = [0.0] * size
    for i in reversed(range(size)):
        weights[i] = (right[i] - sum(matrix[i][k] * weights[k] for k in range(i + 1, size))) / matrix[i][i]
    return weights


def _weights(kind, rows, goals):
    if kind == "mean":
        return [sum(goals) / len(goals)] + [0.0] * (len(rows[0]) - 1)
    used = range(len(rows[0])) if kind == "linear" else (0, 1)
    weights = _solve([[row[at] for at in used] for row in rows], goals)
    return weights + [0.0] * (len(rows[0]) - len(weights))


def _apply(weights, rows):
    return [sum(weight * value for weight, value in zip(weights, row)) for row in rows]


def _learn(kind, rows, cells):
    """One target: a number, or a score for each of its labels."""
    labels = sorted(set(cells))
    if len(labels) > 10:
        return {"labels": None, "weights": [_weights(kind, rows, [float(cell) for cell in cells])]}
    scores = [_weights(kind, rows, [float(cell == label) for cell in cells]) for label in labels]
    return {"labels": labels, "weights": scores}


def _labels(target, rows):
    scores = zip(*[_apply(weights, rows) for weights in target["weights"]])
    return [target["labels"][max(range(len(row)), key=row.__getitem__)] for row in scores]


def _error(target, rows, cells):
    if target["labels"] is not None:
        return sum(label != cell for label, cell in zip(_labels(target, rows), cells)) / len(cells)
    found = _apply(target["weights"][0], rows)
    return (sum((value - float(cell)) ** 2 for value, cell in zip(found, cells)) / len(cells)) ** 0.5


def fit(kind, save_as="model.pkl"):
    """Learns every target, says which share of the error of a constant it removes on rows held back, and saves the model."""
    x, y = _load("X_train.pkl"), _load("y_train.pkl")
    cut = len(x) * 3 // 4
    gains = []
    for cells in y.values():
        constant = _error(_learn("mean", x[:cut], cells[:cut]), x[cut:], cells[cut:])
        error = _error(_learn(kind, x[:cut], cells[:cut]), x[cut:], cells[cut:])
        gains.append(1 - error / constant if constant else 0.0)
    print(f"validation gain: {sum(gains) / len(gains):.2f}")
    with open(save_as, "wb") as file:
        dump({name: _learn(kind, x, cells) for name, cells in y.items()}, file)


def predict(form):
    """"number", "label", or "probability" of the later of two labels, for every target."""
    model, t = _load("model.pkl"), _load("X_test.pkl")
    columns = []
    for target in model.values():
        if form == "label":
            columns.append(_labels(target, t))
        else:
            scores = _apply(target["weights"][-1], t)
            columns.append([min(0.99, max(0.01, score)) if form == "probability" else max(0.0, score) for score in scores])
    return columns


def submit(predictions, columns=None):
    test = _table("test.csv")
    identity, *targets = names()
    rows = [columns or [identity, *targets], *zip([row[identity] for row in test], *predictions)]
    with open("submission.csv", "w") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in rows)
