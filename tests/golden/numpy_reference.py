"""The same models written again in numpy, on packed tokens: an independent check of the oracle.

Numbers are complex128 whose imaginary part serves as the infinitesimal of a dual number: Im f(w + i h d) / h
is the derivative along d without cancellation (complex-step differentiation), good to about 1e-14.
"""

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _lift(real_value, slope, x):
    return real_value + 1j * slope * x.imag


def gelu(x):
    r = x.real
    cdf = 0.5 * (1.0 + _erf(r / math.sqrt(2.0)))
    return _lift(r * cdf, cdf + r * np.exp(-0.5 * r * r) / math.sqrt(2.0 * math.pi), x)


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": lambda x: np.where(x.real > 0, x, 0),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) * (x - mean)).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def log_softmax(x):
    shifted = x - x.real.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class Model:
    """BERT, RoBERTa or DistilBERT from a state dict (name -> array) and a transformers config."""

    def __init__(self, case, config, weights):
        self.case, self.config, self.w = case, config, weights
        self.bert = case.is_bert
        self.base = "" if case.is_embedding else case.base + "."
        self.heads = config.num_attention_heads
        self.eps = config.layer_norm_eps if self.bert else 1e-12
        self.act = ACTIVATIONS[config.hidden_act if self.bert else config.activation]

    def linear(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def norm(self, name, x):
        return layer_norm(x, self.w[name + ".weight"], self.w[name + ".bias"], self.eps)

    def sequence(self, ids, positions, types):
        """Hidden states [length, hidden_size] of one sequence."""
        base = self.base
        words = self.w[base + "embeddings.word_embeddings.weight"]
        pad = self.config.pad_token_id
        if pad is not None:  # padding_idx: the lookup passes nothing to that row
            words = words.copy()
            words[pad] = words[pad].real
        places = self.w[base + "embeddings.position_embeddings.weight"]
        if self.case.is_roberta:  # their place among the tokens that are no padding, counted from behind pad's
            positions = np.where(ids == pad, pad, np.cumsum(ids != pad) + pad)
            places = places.copy()
            places[pad] = places[pad].real
        x = words[ids] + places[positions]
        if self.bert:
            x = x + self.w[base + "embeddings.token_type_embeddings.weight"][types]
        x = self.norm(base + "embeddings.LayerNorm", x)
        for layer in range(self.config.num_hidden_layers):
            if self.bert:
                p = f"{base}encoder.layer.{layer}."
                names = [p + "attention.self." + n for n in ("query", "key", "value")]
                names += [p + n for n in ("attention.output.dense", "attention.output.LayerNorm",
                                          "intermediate.dense", "output.dense", "output.LayerNorm")]
            else:
                p = f"{base}transformer.layer.{layer}."
                names = [p + n for n in ("attention.q_lin", "attention.k_lin", "attention.v_lin",
                                         "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2",
                                         "output_layer_norm")]
            query, key, value, out, norm1, up, down, norm2 = names
            q, k, v = (self.linear(n, x) for n in (query, key, value))
            size = q.shape[-1] // self.heads
            context = np.empty_like(q)
            for head in range(self.heads):
                part = slice(head * size, (head + 1) * size)
                scores = q[:, part] @ k[:, part].T / math.sqrt(size)
                context[:, part] = np.exp(log_softmax(scores)) @ v[:, part]
            x = self.norm(norm1, self.linear(out, context) + x)
            x = self.norm(norm2, self.linear(down, self.act(self.linear(up, x))) + x)
        return x

    def hidden(self, inputs):
        """A list of [length, hidden_size], one for each sequence, padding dropped."""
        result = []
        for row, mask in enumerate(inputs["attention_mask"]):
            real = np.flatnonzero(mask)
            positions = inputs["position_ids"][row][real] if "position_ids" in inputs else real
            types = inputs["token_type_ids"][row][real] if self.bert else None
            result.append(self.sequence(inputs["input_ids"][row][real], positions, types))
        return result

    def embeddings(self, inputs):
        rows = []
        for x in self.hidden(inputs):
            mean = x.mean(0)
            rows.append(mean / np.sqrt((mean * mean).sum()))
        return np.stack(rows)

    def logits(self, inputs):
        """[B, num_labels], or for token-level heads [N, num_labels or vocab_size] of the real tokens."""
        hidden = self.hidden(inputs)
        kind = self.case.architecture
        if kind.endswith("ForTokenClassification"):
            return self.linear("classifier", np.concatenate(hidden))
        if self.bert and kind.endswith("ForMaskedLM"):
            roberta = self.case.is_roberta
            head = "lm_head." if roberta else "cls.predictions."
            x = self.linear(head + ("dense" if roberta else "transform.dense"), np.concatenate(hidden))
            x = gelu(x) if roberta else self.act(x)
            x = self.norm(head + ("layer_norm" if roberta else "transform.LayerNorm"), x)
            tied = self.config.tie_word_embeddings
            decoder = self.base + "embeddings.word_embeddings.weight" if tied else head + "decoder.weight"
            bias = head + ("bias" if tied else "decoder.bias")
            return x @ self.w[decoder].T + self.w[bias]
        if kind == "DistilBertForMaskedLM":
            x = self.act(self.linear("vocab_transform", np.concatenate(hidden)))
            x = self.norm("vocab_layer_norm", x)
            decoder = self.w["distilbert.embeddings.word_embeddings.weight"]
            return x @ decoder.T + self.w["vocab_projector.bias"]
        first = np.stack([x[0] for x in hidden])
        if self.case.is_roberta:
            return self.linear("classifier.out_proj", np.tanh(self.linear("classifier.dense", first)))
        if self.bert:
            return self.linear("classifier", np.tanh(self.linear("bert.pooler.dense", first)))
        x = self.linear("pre_classifier", first)
        return self.linear("classifier", np.where(x.real > 0, x, 0))

    def loss(self, inputs, pair, labels):
        case = self.case
        if case.is_embedding:
            a, b = self.embeddings(inputs), self.embeddings(pair)
            if case.loss == "cosine":
                return (((a * b).sum(-1) - labels) ** 2).mean()
            return -np.diagonal(log_softmax(case.scale * (a @ b.T))).mean()
        logits = self.logits(inputs)
        problem = getattr(self.config, "problem_type", None)
        if problem == "regression":
            return ((logits.reshape(labels.shape) - labels) ** 2).mean()
        if problem == "multi_label_classification":
            return (np.log(1.0 + np.exp(-logits)) + (1.0 - labels) * logits).mean()
        if labels.ndim == 2:
            labels = labels[inputs["attention_mask"] == 1]
        keep = labels != -100
        logp, target = log_softmax(logits)[keep], labels[keep]
        classes = logp.shape[-1]
        weights = np.array(case.class_weights) if case.class_weights else np.ones(classes)
        smoothing = case.label_smoothing
        picked = -(weights[target] * logp[np.arange(len(target)), target]).sum()
        spread = -(weights * logp).sum()
        return ((1 - smoothing) * picked + smoothing / classes * spread) / weights[target].sum()


def directional_derivative(model, name, direction, inputs, pair, labels):
    step = 1e-30
    moved = dict(model.w)
    moved[name] = model.w[name] + 1j * step * direction
    return Model(model.case, model.config, moved).loss(inputs, pair, labels).imag / step


def adamw_step(weights, grads, state, step, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, decay=1e-2, max_norm=1.0):
    """One clipped AdamW step in place; returns the norm before clipping."""
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
    clip = min(1.0, max_norm / (norm + 1e-6))
    for name, grad in grads.items():
        m, v = state.setdefault(name, [np.zeros_like(grad), np.zeros_like(grad)])
        g = grad * clip
        m += (1 - betas[0]) * (g - m)
        v += (1 - betas[1]) * (g * g - v)
        weights[name] *= 1 - lr * decay
        root = np.sqrt(v / (1 - betas[1] ** step)) + eps
        weights[name] -= lr * (m / (1 - betas[0] ** step)) / root
    return norm
