"""Writes fixtures/tables/metrics.json: small tables with the values that scikit-learn gives them.

pip install numpy==2.1.3 scipy==1.14.1 scikit-learn==1.5.2
python3 test/parity/make_metric_fixtures.py
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn import metrics as m

rng = np.random.default_rng(20260202)
cases = []


def case(metric, title, truth, predicted, value):
    """truth and predicted: column name -> cells, as they stand in a file."""
    texts = lambda columns: {name: [str(cell) for cell in cells] for name, cells in columns.items()}
    cases.append(
        {"metric": metric, "title": title, "truth": texts(truth), "predicted": texts(predicted), "value": float(value)}
    )


def numbers(rows, targets, positive=False):
    truth = rng.normal(50, 20, (rows, targets))
    predicted = truth + rng.normal(3, 8, (rows, targets))
    if positive:
        truth, predicted = np.abs(truth), np.abs(predicted)
    return truth.round(3), predicted.round(3)


def columns(matrix):
    return {f"target{index}": list(matrix[:, index]) for index in range(matrix.shape[1])}


def smape(t, p):
    return 100 * np.mean(2 * np.abs(t - p) / (np.abs(t) + np.abs(p)))


regression = {
    "rmse": m.root_mean_squared_error,
    "mcrmse": m.root_mean_squared_error,
    "mae": m.mean_absolute_error,
    "medae": m.median_absolute_error,
    "r2": m.r2_score,
    "smape": lambda t, p: np.mean([smape(t[:, i], p[:, i]) for i in range(t.shape[1])]),
    "pearson": lambda t, p: np.mean([stats.pearsonr(t[:, i], p[:, i])[0] for i in range(t.shape[1])]),
    "spearman": lambda t, p: np.mean([stats.spearmanr(t[:, i], p[:, i])[0] for i in range(t.shape[1])]),
}
for name, value in regression.items():
    for rows, targets in ((7, 1), (40, 3)):
        truth, predicted = numbers(rows, targets)
        case(name, f"{rows} rows, {targets} targets", columns(truth), columns(predicted), value(truth, predicted))
truth, predicted = numbers(30, 2, positive=True)
case("rmsle", "30 rows, 2 targets", columns(truth), columns(predicted), m.root_mean_squared_log_error(truth, predicted))
truth, predicted = numbers(25, 1)
truth, predicted = truth.round(-1), predicted.round(-1)
case("spearman", "with ties", columns(truth), columns(predicted), stats.spearmanr(truth[:, 0], predicted[:, 0])[0])
constant = np.full((5, 1), 4.0)
case("r2", "constant truth", columns(constant), columns(constant + [[0], [0], [0], [0], [1]]), m.r2_score(constant, constant + [[0], [0], [0], [0], [1]]))

labels_of = {"numbers": [0, 1], "text": ["no", "yes"], "booleans": [False, True]}
for title, pair in labels_of.items():
    hot = rng.integers(0, 2, 50)
    scores = np.clip(hot * 0.3 + rng.random(50) * 0.7, 0, 1).round(2)
    hard = np.where(rng.random(50) < 0.8, hot, 1 - hot)
    truth = {"target": [pair[one] for one in hot]}
    claimed = {"target": [pair[one] for one in hard]}
    case("roc_auc", f"{title}, with ties", truth, {"target": scores}, m.roc_auc_score(hot, scores))
    case("log_loss", f"{title}, 0 and 1 among the probabilities", truth, {"target": scores}, m.log_loss(hot, scores))
    case("normalized_gini", title, {"target": hot}, {"target": scores}, 2 * m.roc_auc_score(hot, scores) - 1)
    case("accuracy", title, truth, claimed, m.accuracy_score(hot, hard))
    case("f1", title, truth, claimed, m.f1_score(hot, hard))
case("f1", "nothing claimed", {"t": [0, 1, 1]}, {"t": [0, 0, 0]}, m.f1_score([0, 1, 1], [0, 0, 0]))
hot = rng.integers(0, 2, (40, 3))
scores = (hot * 0.2 + rng.random((40, 3)) * 0.8).round(3)
case("roc_auc", "three targets", columns(hot), columns(scores), m.roc_auc_score(hot, scores, average="macro"))
right = rng.integers(0, 3, 30)
raw = rng.integers(1, 9, (30, 3)).astype(float)
raw[np.arange(30), right] += 3
scores = raw / raw.sum(1, keepdims=True)
case("log_loss", "one column a class", columns(np.eye(3, dtype=int)[right]), columns(scores), m.log_loss(right, scores, labels=[0, 1, 2]))

names = np.array(["Graduate", "Dropout", "Enrolled", "Insufficient Weight"])
right = rng.integers(0, 4, 60)
claimed = np.where(rng.random(60) < 0.6, right, rng.integers(0, 4, 60))
for metric, average in (("f1_micro", "micro"), ("f1_macro", "macro"), ("f1_weighted", "weighted")):
    value = m.f1_score(names[right], names[claimed], average=average)
    case(metric, "four labels of text", {"Target": names[right]}, {"Target": names[claimed]}, value)
case("accuracy", "four labels of text", {"T": names[right]}, {"T": names[claimed]}, m.accuracy_score(right, claimed))
claimed[right == 2] = 0
case("f1_weighted", "a label never claimed", {"T": names[right]}, {"T": names[claimed]}, m.f1_score(names[right], names[claimed], average="weighted"))

grades = rng.integers(3, 9, 80)
guessed = np.clip(grades + rng.integers(-2, 3, 80), 3, 8)
value = m.cohen_kappa_score(grades, guessed, weights="quadratic")
case("quadratic_weighted_kappa", "whole numbers", {"quality": grades}, {"quality": guessed}, value)
case("quadratic_weighted_kappa", "labels with a gap, two digits", {"q": [2, 10, 10, 30, 2]}, {"q": [2, 10, 30, 30, 10]},
     m.cohen_kappa_score([2, 10, 10, 30, 2], [2, 10, 30, 30, 10], weights="quadratic"))

ranked = rng.random((50, 4))
ranked[np.arange(50), rng.integers(0, 4, 50)] += 0.1
right = rng.integers(0, 4, 50)
top = np.argsort(-ranked, axis=1)[:, :3]
diseases = np.array(["Dengue", "Lyme_disease", "Malaria", "Zika"])
hits = [0] + [m.top_k_accuracy_score(right, ranked, k=k, labels=range(4)) for k in (1, 2, 3)]
value = sum((hits[k] - hits[k - 1]) / k for k in (1, 2, 3))
case("map_at_3", "three of four labels", {"prognosis": diseases[right]}, {"prognosis": [" ".join(diseases[row]) for row in top]}, value)

vocabulary = np.array("the a fox dog, runs jumps over lazy Sooo good!".split())
texts = [[" ".join(rng.permutation(vocabulary)[: rng.integers(1, 8)]) for _ in range(20)] for _ in range(2)]
lowered = [word.lower() for word in vocabulary]
marks = [np.array([[int(word in text.lower().split()) for word in lowered] for text in side]) for side in texts]
case("jaccard", "words of texts", {"selected": texts[0]}, {"selected": texts[1]}, m.jaccard_score(*marks, average="samples"))

folder = Path(__file__).parent / "fixtures" / "tables"
folder.mkdir(exist_ok=True)
(folder / "metrics.json").write_text("[\n" + ",\n".join(json.dumps(one, separators=(",", ":")) for one in cases) + "\n]\n")
print(len(cases), "cases")
