"""Vocabulary and texts for the tokenizer fixtures (generate.py) and for the comparison in scripts/."""

import string
import unicodedata


def _vocabulary():
    letters = [c for c in string.ascii_letters + string.digits]
    others = ("\u00e9\u00e8\u00fc\u00df\u0131\u0130\u0301\u0307\u0308\u03b1\u03b2\u03c3\u03c2\u03a3\u043f\u0440\u0438\u0432"
              "\u0435\u0442\u05d0\u0628\u0643\u0639\u0e01\u0e17\u0e44\u0e22\u0915\u093f\u1100\u1161\u11ab\u1112\u1169"
              "\u304b\u306a\u30ab\u30fb\u302e\u4e2d\u56fd\u4eba\u6587\u8c48\u66f4\U00020000\U0001d165\u2126\u03c9"
              "\U0001f600\u1e9e\u0149\u01c4\u01c6\u212a\u00b5\u03bc\u0345\u1fb3\u1fbc\U0001e922\U0001e944")
    words = ["hello", "world", "Hello", "the", "un", "##aff", "##able", "run", "##ning", "cafe", "caf\u00e9", "##\u00e9",
             "naive", "na\u00efve", "don", "##t", "can", "not", "do", "isn", "it", "'", "n", "abc", "ab", "##bc", "##c",
             "##abc", "##d", "e##", "low", "##er", "lower", "raw", "caf", "##e", "strasse", "stra\u00dfe", "123", "##45"]
    punctuation = list(string.punctuation) + ["\u2019", "\u201c", "\u2014", "\u3002", "\uff0c", "\u00a1", "\u00bf", "\u00b7"]
    continued = ["##" + c for c in letters + list(others)]
    return list(dict.fromkeys(words + letters + list(others) + continued + punctuation))


VOCABULARY = _vocabulary()

TEXTS = [
    "", " ", "\t\n\r", "hello world", "  Hello,   WORLD!  ", "unaffable", "Unaffable running", "caf\u00e9 CAFE\u0301 Caf\u00c9",
    "na\u00efve", "don't can't isn't", "a.b-c_d@e", "$100.50 & 50%", "hello\u00a0world", "hello\u2003world\u3000again",
    "zero\u200bwidth", "soft\u00adhyphen", "\ufeffhello", "hello\ufffdworld", "nul\x00byte", "bell\x07 esc\x1b del\x7f",
    "\x85next line", "line\u2028separator\u2029paragraph", "v\x0btab f\x0cfeed", "\u180emongolian", "private\ue000use",
    "unassigned\u0378here", "\U000e0001tag\U000f0000plane", "noncharacter\uffff\U0010ffff", "stra\u00dfe STRASSE \u1e9e",
    "\u0130stanbul \u0131\u0130", "\u03a3\u03a3\u03a3 \u03b1\u03a3 \u03b1\u03c2", "\u01c4 \u01c5 \u01c6 \u0149", "\u212a \u2126 \u00b5 \u00c5 \u212b",
    "\u4e2d\u56fd\u4eba", "abc\u4e2ddef\u56fd", "\u4e2d \u6587,\u4eba\u3002", "\u8c48\uf900\ufa0e\U0002f800\U00020000", "\u3400\u4dbf\u9fff\ua000",
    "\u304c\u304b\u3099\u30ac\u30d1 \u306a\u306b", "\ud55c\uad6d\uc5b4 \ud558\u1112\u1161\u11ab", "\u1112\u1161\u11ab\u1100", "\u043f\u0440\u0438\u0432\u0435\u0442 \u041f\u0420\u0418\u0412\u0415\u0422 \u0439\u0419",
    "\u05d0\u05b0\u05d1 \u05e9\u05c1", "\u0643\u0650\u062a\u064e\u0627\u0628 \u0622\u0623", "\u0e44\u0e17\u0e22 \u0e01\u0e33", "\u0915\u093f\u0924\u093e\u092c \u0958\u095c \u0929",
    "\u1ea4\u1ec7\u01ed", "e\u0301\u0323 e\u0323\u0301", "\u0301alone", "a\u0301\u302e b", "a\u302e\u0301 \u302f\u302e\u0323", "x\u0f73\u0f71\u0f72", "\u0344\u0323",
    "\U0001d15e\U0001d165\U0001d16e", "q\u0345\u0301", "\u1fb3\u1fbc\u1f80", "\U0001e922\U0001e944\U0001e94a", "\U00010400\U00010428",
    "\u2260 \u226e \u219a", "\u037e \u1fef \u0387", "\u2000\u2001\u2002", "\ufb01 \ufb03 \u2460 \u00bd", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
    "\u201chello\u201d \u2014 it\u2019s", "\u00a1hola! \u00bfque?", "^`~|<>=+$", "\u00b7\u30fb\u2022", "e##e ##abc abc##d", "###", "##",
    "[CLS] hello [SEP]", "[MASK][MASK]", "[mask] [cls]", "hello[MASK]world", "[UNK] [PAD]", "[ MASK ]", "[[MASK]]", "[MAS\u212a]",
    "<mask> <sep> <extra>", " <mask>", "hello   <mask>   world", "e the e", "<s></s><pad><unk>", "</s>hello",
    "<word> x<word> <word>x (<word>) _<word>", "<word>\u00e9 \u00e9<word> <word>\u0301 \u4e2d<word>", "a  <left>  b", "a  <right>  b", "a <both> \u3000 <both> b",
    "<right>  <left>", "<left><right>", "Caf\u00e9 X", "cafe x CAFE\u0301 X", "caf\u00e9s caf\u00e9 cafe", "  lower LOWER lowers", "slower", "RAWER RAW RAWE raw", "\u4e2d\u56fd\u4eba\u4e2d",
    "a" * 12 + " " + "a" * 13, "a" * 100, "a" * 101, "\u00e9" * 100, "\u00e9" * 101, "\ud55c" * 34, "\u0301" * 200 + "a", "(" * 110,
    "supercalifragilisticexpialidocious", "12345 123456", "\u0661\u0662\u0663", "a\u200db", "\u0628\u200c\u0643", "ab cd" * 20,
]

CASES = [{"text": text} for text in TEXTS]
CASES += [{"text": TEXTS[i], "pair": TEXTS[-1 - i]} for i in range(0, len(TEXTS), 6)]
_A, _B = "hello world don't run", "the caf\u00e9 isn't unaffable, no!"
CASES += [{"text": _A, "bare": True}, {"text": _A, "pair": _B, "bare": True}, {"text": "", "pair": ""}]
CASES += [{"text": t, "max_length": n, **({"bare": True} if n % 2 else {})} for t in (_A, _B, "") for n in (2, 3, 5, 7, 64)]
TRUNCATED = [{"text": a, "pair": b, "max_length": n, "truncation": how}
             for a, b in ((_A, _B), (_B, _A), (_A, "run"), ("run", _B), ("", _B), (_A, ""), (_A, _A))
             for n in (3, 4, 5, 8, 11, 16, 40) for how in ("longest_first", "only_first", "only_second")]
CASES += [{"text": _A, "max_length": 5, "truncation": how} for how in ("only_first", "only_second")]
CASES += [{"text": ["Hello", "w\u00f6rld", "", "don't", "\u4e2d\u56fd", " a b ", "[MASK]", "unaffable"]},
          {"text": ["Hello", "don't", "unaffable"], "max_length": 6}, {"text": ["\u0301"]}]

_SCRIPTS = [(0x20, 0x7F), (0x20, 0x7F), (0x61, 0x7B), (0xA0, 0x250), (0x2B0, 0x370), (0x370, 0x530), (0x530, 0x700),
            (0x700, 0x900), (0x900, 0xE00), (0xE00, 0x1100), (0x1100, 0x1200), (0x1200, 0x1D00), (0x1D00, 0x2000),
            (0x2000, 0x2070), (0x2070, 0x3000), (0x3000, 0x3100), (0x3100, 0x3400), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4),
            (0xF900, 0xFB50), (0xFB50, 0x10000), (0x10000, 0x12000), (0x16000, 0x17000), (0x1D000, 0x1D800),
            (0x1E000, 0x1F000), (0x1F000, 0x20000), (0x20000, 0x20010), (0x2F800, 0x2FA20), (0, 0x20), (0, 0x110000)]
_COMBINING = [chr(c) for c in range(0x20000) if unicodedata.combining(chr(c))]
_PIECES = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", " ", " ", " ", "\u3000", "\t", "<word>", "<left>", "<right>", "<both>",
           "Caf\u00e9", "Caf\u00e9 X", "lower", "RAW", "RAWER", "<mask>", "<sep>", "<extra>", "e", "\u4e2d\u56fd", "\u302e", "\u302f", "\U0001d165"]


def _character(generator):
    low, high = generator.choice(_SCRIPTS)
    while True:
        code_point = generator.randrange(low, high)
        if code_point != 0x0A and not 0xD800 <= code_point < 0xE000:
            return chr(code_point)


def random_text(generator, words=()):
    """A line (no line feed in it) of words, characters of one script, of all scripts, and combining characters."""
    parts = []
    for _ in range(generator.randrange(1, 9)):
        kind = generator.randrange(8)
        if kind == 0:
            parts.append("".join(_character(generator) for _ in range(generator.randrange(1, 12))))
        elif kind == 1:
            low, high = generator.choice(_SCRIPTS[:-2])
            parts.append("".join(chr(generator.randrange(low, high)) for _ in range(generator.randrange(1, 20))))
        elif kind == 2:
            base = _character(generator)
            parts.append(base + "".join(generator.choice(_COMBINING) for _ in range(generator.randrange(1, 6))))
        elif kind == 3:
            parts.append(generator.choice(_PIECES) + generator.choice(["", " ", "  ", "x"]))
        elif kind == 4 and generator.randrange(8) == 0:
            parts.append(_character(generator) * generator.randrange(95, 105))
        else:
            chosen = [generator.choice(words or VOCABULARY).replace("##", "") for _ in range(generator.randrange(1, 5))]
            if generator.randrange(3) == 0:
                chosen = [generator.choice([str.upper, str.title, str.lower])(word) for word in chosen]
            parts.append(generator.choice([" ", " ", "", "-", "\u00a0"]).join(chosen))
    return generator.choice(["", " ", " "]).join(parts).replace("\n", " ")


def random_case(generator, words=()):
    case = {"text": random_text(generator, words)}
    if generator.randrange(3) == 0:
        case["pair"] = random_text(generator, words)
    if generator.randrange(3) == 0:
        case["max_length"] = generator.randrange(3, 24)
        if "pair" in case:
            case["truncation"] = generator.choice(["longest_first", "only_first", "only_second"])
    if generator.randrange(6) == 0:
        case["bare"] = True
    return case
