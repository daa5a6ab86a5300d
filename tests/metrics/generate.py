"""Computes metrics.json: inputs and the values of scikit-learn 1.9.1, scipy 1.17.1 and seqeval 1.2.2.

    python generate.py > metrics.json
"""

import json
import math
import random
import sys
import warnings

import numpy as np
from scipy import stats
from seqeval import metrics as spans
from seqeval.scheme import IOB2
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

warnings.simplefilter("ignore")
rng = random.Random(1)


def prf(function, average, *arguments, **options):
    values = function(*arguments, average=average, **options)
    return [float(value) for value in values[:3]]


def classification(predictions, references):
    case = {"predictions": predictions, "references": references}
    case["accuracy"] = float(metrics.accuracy_score(references, predictions))
    case["matthews"] = float(metrics.matthews_corrcoef(references, predictions))
    for average in ("macro", "micro", "weighted"):
        case[average] = prf(metrics.precision_recall_fscore_support, average, references, predictions)
    if set(predictions) | set(references) <= {0, 1}:
        for positive in (0, 1):
            if positive in set(predictions) | set(references):
                case[f"binary{positive}"] = prf(metrics.precision_recall_fscore_support, "binary", references,
                                                predictions, pos_label=positive)
    classes = 1 + max(predictions + references)
    case["confusion"] = metrics.confusion_matrix(references, predictions, labels=range(classes)).tolist()
    present = sorted(set(references))
    if present == list(range(classes)):
        case["class_weights"] = compute_class_weight("balanced", classes=np.array(present),
                                                     y=np.array(references)).tolist()
    return case


def random_classes(rows, classes, skill):
    references = [rng.randrange(classes) for _ in range(rows)]
    return [label if rng.random() < skill else rng.randrange(classes) for label in references], references


def multilabel(rows, labels, density):
    targets = [[int(rng.random() < density) for _ in range(labels)] for _ in range(rows)]
    outputs = [[round(rng.gauss(2 * target - 1, 1.2), 3) for target in row] for row in targets]
    predicted = (np.array(outputs) > 0).astype(int)
    case = {"labels": labels, "outputs": sum(outputs, []), "targets": sum(targets, [])}
    for average in ("macro", "micro", "weighted"):
        case[average] = prf(metrics.precision_recall_fscore_support, average, np.array(targets), predicted)
    case["accuracy"] = float(metrics.accuracy_score(np.array(targets), predicted))
    return case


def number(value):
    return None if math.isnan(value) else float(value)


def correlation(a, b):
    a, b = ([float(np.float32(value)) for value in side] for side in (a, b))
    return {"predictions": a, "references": b, "pearson": number(stats.pearsonr(a, b)[0]),
            "spearman": number(stats.spearmanr(a, b)[0]), "mse": float(metrics.mean_squared_error(b, a))}


def span_case(predictions, references, strict):
    case = {"predictions": predictions, "references": references, "strict": strict}
    mode = {"mode": "strict", "scheme": IOB2} if strict else {}
    for average in ("macro", "micro", "weighted"):
        case[average] = [float(score(references, predictions, average=average, **mode))
                         for score in (spans.precision_score, spans.recall_score, spans.f1_score)]
    case["accuracy"] = float(spans.accuracy_score(references, predictions))
    report = spans.classification_report(references, predictions, output_dict=True, **mode)
    case["types"] = {name: [row["precision"], row["recall"], row["f1-score"]] for name, row in report.items()
                     if not name.endswith(" avg")}
    case["types"] = {name: [float(value) for value in values] for name, values in case["types"].items()}
    return case


def random_tags(prefixes, types, sentences, skill):
    def tag():
        return "O" if rng.random() < 0.4 else rng.choice(prefixes) + rng.choice(types)
    references = [[tag() for _ in range(rng.randrange(1, 9))] for _ in range(sentences)]
    predictions = [[old if rng.random() < skill else tag() for old in row] for row in references]
    return predictions, references


result = {
    "classification": [
        classification(*random_classes(*shape))
        for shape in [(1, 2, 0), (2, 2, 0.5), (40, 2, 0.7), (40, 2, 0), (60, 3, 0.6), (60, 7, 0.5),
                      (9, 5, 0.3)]
    ] + [
        classification([0, 0, 0, 0], [0, 1, 1, 0]),  # one class is never predicted
        classification([1, 1, 1, 1], [1, 1, 1, 1]),
        classification([0, 0, 0], [0, 0, 0]),
        classification([0, 0, 0], [1, 1, 1]),
        classification([2, 2, 0], [0, 1, 1]),
    ],
    "multilabel": [multilabel(*shape) for shape in [(1, 3, 0.5), (30, 4, 0.4), (20, 5, 0.1), (6, 2, 0.5)]],
    "correlation": [
        correlation([rng.gauss(0, 1) for _ in range(50)], [rng.gauss(0, 1) for _ in range(50)]),
        correlation([0.1 * at + rng.gauss(0, 1) for at in range(50)], range(50)),
        correlation([rng.randrange(5) for _ in range(60)], [rng.randrange(3) for _ in range(60)]),
        correlation([1e6 + rng.random() for _ in range(20)], [rng.random() for _ in range(20)]),
        correlation([1, 2], [5, 4]),
        correlation([1, 2, 3], [2, 4, 6]),
        correlation([0.1, 0.1, 0.1], [1, 2, 3]),
        correlation([1, 2, 3], [7, 7, 7]),
    ],
    "spans": [],
}
for strict in (False, True):
    prefixes = ["B-", "I-"] if strict else ["B-", "I-", "E-", "S-"]
    cases = [
        ([["O", "B-PER", "I-PER", "O"]], [["O", "B-PER", "I-PER", "O"]]),
        ([["O", "I-PER", "I-PER", "B-PER"]], [["O", "B-PER", "I-PER", "I-PER"]]),
        ([["B-PER", "I-LOC", "O"], ["I-LOC"]], [["B-PER", "B-LOC", "O"], ["B-LOC"]]),
        ([["O", "O"]], [["B-PER", "O"]]),
        ([["B-PER", "O"]], [["O", "O"]]),
        ([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]),  # a span does not cross sentences
        ([["B-A-B", "I-A-B", "I-A"]], [["B-A-B", "I-A-B", "I-A-B"]]),
    ]
    if not strict:
        cases += [([["B", "I", "O", "I"]], [["B", "I", "O", "B"]]),
                  ([[".", "PER", "S-X", "S-X"]], [["O", "PER", "S-X", "E-X"]])]
    for shape in [(prefixes, ["PER", "LOC"], 12, 0.7), (prefixes, ["A", "B", "C"], 15, 0.3),
                  (["B-", "I-"], ["X"], 10, 0.6)]:
        cases.append(random_tags(*shape))
    result["spans"] += [span_case(predictions, references, strict) for predictions, references in cases]

json.dump(result, sys.stdout, indent=None, separators=(",", ":"))
print()
