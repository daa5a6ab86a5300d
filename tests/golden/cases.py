"""The table of model cases: what each one is made of. generate.py turns every entry into a directory."""

import dataclasses
import zlib

import numpy as np

SEED = 20240731
IGNORE_INDEX = -100


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    architecture: str  # the transformers class
    config: dict = dataclasses.field(default_factory=dict)  # differences from SMALL_*
    lengths: tuple = (9, 4, 12, 1, 7)  # real tokens of each sequence
    pair_lengths: tuple = ()  # second batch (sentence embeddings)
    padding: str = "right"  # right | left | holes
    pad_to: int = 0  # 0: the longest sequence
    token_types: bool = False  # a second segment in each sequence
    positions: bool = False  # explicit position_ids
    attend_pad: bool = False  # real tokens that happen to have the pad id
    loss: str = "model"  # model (what the transformers class computes) | cross_entropy | cosine | ranking
    label_smoothing: float = 0.0
    class_weights: tuple = ()
    scale: float = 20.0  # of the ranking loss
    salt: int = 0  # another draw of weights and inputs
    note: str = ""

    @property
    def is_roberta(self):
        return self.architecture.startswith(("Roberta", "XLMRoberta"))

    @property
    def is_bert(self):
        """BERT or RoBERTa, whose layers have the same names."""
        return self.architecture.startswith("Bert") or self.is_roberta

    @property
    def base(self):
        return "roberta" if self.is_roberta else "bert" if self.is_bert else "distilbert"

    @property
    def is_embedding(self):
        return self.loss in ("cosine", "ranking")

    def rng(self, purpose):
        """An own stream for each purpose, so that adding a case changes no other."""
        stream = zlib.crc32(f"{self.name}/{purpose}".encode())
        return np.random.Generator(np.random.PCG64([SEED + self.salt, stream]))


SMALL_BERT = dict(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=16,
    type_vocab_size=2,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
SMALL_DISTILBERT = dict(
    vocab_size=50,
    dim=24,
    n_layers=2,
    n_heads=4,
    hidden_dim=40,
    max_position_embeddings=16,
    dropout=0.0,
    attention_dropout=0.0,
    qa_dropout=0.0,
    seq_classif_dropout=0.0,
)
SMALL_ROBERTA = dict(SMALL_BERT, type_vocab_size=1, max_position_embeddings=18, layer_norm_eps=1e-5)
# The case that the checkpoint variants are made from is a little larger.
MAIN = dict(vocab_size=60, hidden_size=32, intermediate_size=64, max_position_embeddings=24, num_labels=3)

CLASSIFY = "BertForSequenceClassification"
TOKENS = "BertForTokenClassification"
SINGLE = dict(num_labels=3, problem_type="single_label_classification")
ONE_LAYER = dict(num_hidden_layers=1)

CASES = [
    Case("bert_cls_gelu", CLASSIFY, dict(MAIN, hidden_act="gelu")),
    Case("bert_cls_gelu_new", CLASSIFY, dict(SINGLE, **ONE_LAYER, hidden_act="gelu_new")),
    Case("bert_cls_gelu_pytorch_tanh", CLASSIFY, dict(SINGLE, hidden_act="gelu_pytorch_tanh")),
    Case("bert_cls_relu", CLASSIFY, dict(SINGLE, hidden_act="relu")),
    Case("bert_cls_silu", CLASSIFY, dict(SINGLE, hidden_act="silu")),
    Case("bert_cls_layer_norm_eps", CLASSIFY, dict(SINGLE, **ONE_LAYER, layer_norm_eps=1e-5)),
    Case("bert_cls_dense", CLASSIFY, dict(SINGLE, num_attention_heads=3), lengths=(16,) * 3,
         note="no padding, every position used, head size 8"),
    Case("bert_cls_one_token", CLASSIFY, dict(SINGLE), lengths=(1,),
         note="softmax over one key is 1, so query and key weights have no gradient at all"),
    Case("bert_cls_pad_columns", CLASSIFY, dict(SINGLE, **ONE_LAYER), pad_to=16,
         note="padded beyond the longest sequence"),
    Case("bert_cls_pad_attended", CLASSIFY, dict(SINGLE, **ONE_LAYER), attend_pad=True,
         note="real tokens with id pad_token_id: the lookup passes no gradient to that row (padding_idx)"),
    Case("bert_cls_no_padding_idx", CLASSIFY, dict(SINGLE, **ONE_LAYER, pad_token_id=None), attend_pad=True,
         note="the same with pad_token_id null: the row of id 0 learns like any other"),
    Case("bert_cls_holes", CLASSIFY, dict(SINGLE), padding="holes", salt=1),
    Case("bert_cls_pairs", CLASSIFY, dict(SINGLE, num_labels=2), token_types=True),
    Case("bert_cls_multi_label", CLASSIFY, dict(num_labels=4, problem_type="multi_label_classification")),
    Case("bert_cls_regression_1", CLASSIFY, dict(num_labels=1, problem_type="regression")),
    Case("bert_cls_regression_3", CLASSIFY, dict(ONE_LAYER, num_labels=3, problem_type="regression")),
    Case("bert_cls_label_smoothing", CLASSIFY, dict(SINGLE, **ONE_LAYER), loss="cross_entropy",
         label_smoothing=0.1),
    Case("bert_cls_class_weights", CLASSIFY, dict(SINGLE, **ONE_LAYER), loss="cross_entropy",
         class_weights=(0.5, 2.0, 1.25)),
    Case("bert_token", TOKENS, dict(num_labels=5)),
    Case("bert_token_left_padding", TOKENS, dict(ONE_LAYER, num_labels=5), padding="left"),
    Case("bert_token_holes", TOKENS, dict(num_labels=5), padding="holes"),
    Case("bert_token_positions", TOKENS, dict(ONE_LAYER, num_labels=5), positions=True, token_types=True),
    Case("bert_token_smoothing_weights", TOKENS, dict(ONE_LAYER, num_labels=5), loss="cross_entropy",
         label_smoothing=0.1, class_weights=(0.5, 2.0, 1.25, 1.0, 0.75)),
    Case("bert_mlm", "BertForMaskedLM", token_types=True, salt=1),
    Case("bert_mlm_gelu_new", "BertForMaskedLM", dict(hidden_act="gelu_new", layer_norm_eps=1e-5)),
    Case("bert_mlm_untied", "BertForMaskedLM", dict(ONE_LAYER, tie_word_embeddings=False)),
    Case("bert_embed_cosine", "BertModel", pair_lengths=(6, 2, 10, 3, 5), loss="cosine"),
    Case("bert_embed_cosine_left", "BertModel", ONE_LAYER, pair_lengths=(6, 2, 10, 3, 5), loss="cosine",
         padding="left"),
    Case("bert_embed_ranking", "BertModel", pair_lengths=(6, 2, 10, 3, 5), loss="ranking"),
    Case("distilbert_cls", "DistilBertForSequenceClassification", dict(SINGLE)),
    Case("distilbert_cls_relu", "DistilBertForSequenceClassification", dict(num_labels=4, activation="relu",
         problem_type="multi_label_classification")),
    Case("distilbert_mlm", "DistilBertForMaskedLM"),
    Case("distilbert_token", "DistilBertForTokenClassification", dict(num_labels=5)),
    Case("roberta_cls", "RobertaForSequenceClassification", dict(SINGLE), lengths=(9, 4, 16, 1, 7),
         note="positions begin at pad_token_id + 1 and fill the table"),
    Case("roberta_token_left_padding", "RobertaForTokenClassification", dict(ONE_LAYER, num_labels=5, type_vocab_size=2),
         padding="left", token_types=True,
         note="positions follow from the ids: padding on the left does not move them"),
    Case("roberta_cls_pad_attended", "RobertaForSequenceClassification", dict(SINGLE, **ONE_LAYER), attend_pad=True,
         note="real tokens with id pad_token_id stand at pad_token_id, do not count, and pass no gradient"),
    Case("roberta_token", "RobertaForTokenClassification", dict(ONE_LAYER, num_labels=5)),
    Case("roberta_mlm", "RobertaForMaskedLM", dict(ONE_LAYER, hidden_act="relu"),
         note="the head has GELU whatever hidden_act is"),
    Case("roberta_mlm_untied", "RobertaForMaskedLM", dict(ONE_LAYER, tie_word_embeddings=False)),
    Case("roberta_embed_cosine", "RobertaModel", ONE_LAYER, pair_lengths=(6, 2, 10, 3, 5), loss="cosine"),
    Case("xlm_roberta_cls", "XLMRobertaForSequenceClassification", dict(ONE_LAYER, num_labels=4, pad_token_id=3,
         max_position_embeddings=20, problem_type="multi_label_classification")),
]


def make_inputs(case, lengths, vocab_size, pad_id, purpose):
    """A padded batch: int64 arrays [B, L] by their transformers names."""
    rng = case.rng(purpose)
    longest = max(lengths)
    columns = max(case.pad_to, longest + (3 if case.padding == "holes" else 0))
    mask = np.zeros((len(lengths), columns), np.int64)
    for row, length in enumerate(lengths):
        if case.padding == "left":
            mask[row, columns - length:] = 1
        elif case.padding == "holes":
            # Column 0 stays, since the pooler reads it.
            mask[row, np.sort(rng.permutation(columns - 1)[:length - 1] + 1)] = 1
            mask[row, 0] = 1
        else:
            mask[row, :length] = 1
    ids = rng.integers(1, vocab_size, mask.shape)
    if case.is_roberta:  # there a pad token is one whatever the mask says
        ids[ids == pad_id] = vocab_size - 1
    if case.attend_pad:
        ids[:, 1::3] = pad_id or 0
    if case.padding != "holes":  # what stands in a hole must not matter: there it stays random
        ids = np.where(mask == 1, ids, pad_id or 0)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if case.is_bert:
        types = np.zeros_like(mask)
        if case.token_types:
            for row, length in enumerate(lengths):
                real = np.flatnonzero(mask[row])
                types[row, real[(length + 1) // 2:]] = 1
        inputs["token_type_ids"] = types
    if case.positions:
        inputs["position_ids"] = rng.integers(0, 16, mask.shape)
    return {name: np.ascontiguousarray(value, np.int64) for name, value in inputs.items()}


def make_labels(case, num_labels, problem_type, vocab_size, mask):
    rng = case.rng("labels")
    batch = mask.shape[0]
    if case.loss == "cosine":
        return rng.uniform(-0.5, 1.0, batch).astype(np.float32)
    if case.loss == "ranking":
        return None
    if case.architecture.endswith("ForMaskedLM"):
        labels = np.full(mask.shape, IGNORE_INDEX, np.int64)
        chosen = (rng.random(mask.shape) < 0.3) & (mask == 1)
        chosen[0, np.flatnonzero(mask[0])[1]] = True
        labels[chosen] = rng.integers(1, vocab_size, int(chosen.sum()))
        return labels
    if case.architecture.endswith("ForTokenClassification"):
        labels = rng.integers(0, num_labels, mask.shape)
        ignored = (rng.random(mask.shape) < 0.35) | (mask == 0)
        return np.where(ignored, IGNORE_INDEX, labels).astype(np.int64)
    if problem_type == "multi_label_classification":
        return rng.integers(0, 2, (batch, num_labels)).astype(np.float32)
    if problem_type == "regression":
        return rng.standard_normal((batch, num_labels) if num_labels > 1 else batch).astype(np.float32)
    return rng.integers(0, num_labels, batch).astype(np.int64)
