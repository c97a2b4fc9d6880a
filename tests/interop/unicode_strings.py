"""strings - random Unicode strings that trip tokenizers: for the tests beside it."""
RANGES = [(0x20, 0x7e)] * 6 + [(0x0, 0x1f), (0x80, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff),
    (0x900, 0xdff), (0xe00, 0xeff), (0x1100, 0x11ff), (0x1e00, 0x20cf), (0x2100, 0x2bff), (0x3000, 0x30ff),
    (0x4e00, 0x4fff), (0xac00, 0xad00), (0xd700, 0xd7ff), (0xf900, 0xfb4f), (0xfe00, 0xfeff), (0xff00, 0xffef),
    (0x10000, 0x103ff), (0x1d100, 0x1d7ff), (0x1f000, 0x1faff), (0x20000, 0x200ff),
    (0xe0100, 0xe01ef)]
WORDS = ["the", " quick", "Hello", " world", "'s", "'LL", "'\u017f", " 123", "4567", "\n", "\n\n", "  ", "\t", " \n ",
    "\r\n", "don't", "\u2581", "e\u0301", "\u00e9", "\u212b", "\ufb01", "\uff21", "\u1100\u1161\u11a8", "<s>", "</s>", "<unk>",
    "<|im_end|>", "<|im_start|>", "<0x0A>", " <mask> ", "[A]", "[B]", "abab", "(", ").", "--", "\u00a0", "\u3000", "\U0001f469\u200d\U0001f680",
    "\u1e9b\u0323", "\u0130", "\u03a3", "_x1", "!!", "?"]


def texts(rng, n, without=()):
    """Words and characters of all scripts, n strings; characters of `without` are left out."""
    yield ""
    for w in WORDS:
        yield w
    for _ in range(n):
        parts = []
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.5:
                parts.append(rng.choice(WORDS))
            else:
                lo, hi = rng.choice(RANGES)
                letters = (chr(rng.randint(lo, hi)) for _ in range(rng.randint(1, 4)))
                parts.append("".join(c for c in letters if c not in without))
        yield "".join(parts)
