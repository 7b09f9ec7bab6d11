"""Names that could be taken for one another: of aliases, and of models."""

import unicodedata

# Letters and digits that pass for one another at a glance.
_OF_ALIASES = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s"})
_OF_MODELS = str.maketrans({"0": "o", "O": "o", "1": "l", "I": "l", "|": "l"})


def alias_looks_like(alias: str, protected: str) -> bool:
    """Say whether an alias could be taken for a protected one without being it.

    Compared are letters and digits, without case, accents, width and what stands between them; a letter outside
    ASCII counts as looking like any one character, since every alphabet has twins of Latin letters.
    """
    if alias == protected:
        return False
    seen, meant = _letters(alias), _letters(protected)
    return len(seen) == len(meant) and all(
        a == b or not a.isascii() or not b.isascii() for a, b in zip(seen, meant, strict=True)
    )


def model_looks_like(name: str, known: str) -> bool:
    """Say whether a model's name could be taken for another one's.

    Models have more and longer names than there are protected aliases, so less is folded: case, accents, width,
    blanks and control characters, `0` and `O`, `1`, `I` and `l`, and letters of other alphabets in place of Latin ones.
    """
    if name == known:
        return False
    return _same_reading(_shown(name), _shown(known)) or _same_reading(
        _shown(name.translate(_OF_MODELS)), _shown(known.translate(_OF_MODELS))
    )


def _same_reading(seen: str, meant: str) -> bool:
    return len(seen) == len(meant) and all(
        a == b or a.isascii() is not b.isascii() for a, b in zip(seen, meant, strict=True)
    )


def _letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    shown = (c for c in decomposed if unicodedata.category(c)[0] in "LN")
    return "".join(shown).casefold().translate(_OF_ALIASES).replace("rn", "m")


def _shown(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if unicodedata.category(c)[0] not in "MCZ").casefold()
