"""What translation models (NLLB-200, M2M100) call the languages of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stilts.errors import UserError

# FLORES-200 codes of XTREME's languages, as NLLB-200 has them: Modern Standard Arabic, Western Persian, Standard
# Malay and simplified Chinese where it has several.
FLORES: dict[str, str] = dict(
    row.split()
    for row in (
        "af afr_Latn,ar arb_Arab,bg bul_Cyrl,bn ben_Beng,de deu_Latn,el ell_Grek,en eng_Latn,es spa_Latn,et est_Latn,"
        "eu eus_Latn,fa pes_Arab,fi fin_Latn,fr fra_Latn,he heb_Hebr,hi hin_Deva,hu hun_Latn,id ind_Latn,it ita_Latn,"
        "ja jpn_Jpan,jv jav_Latn,ka kat_Geor,kk kaz_Cyrl,ko kor_Hang,ml mal_Mlym,mr mar_Deva,ms zsm_Latn,my mya_Mymr,"
        "nl nld_Latn,pt por_Latn,ru rus_Cyrl,sw swh_Latn,ta tam_Taml,te tel_Telu,th tha_Thai,tl tgl_Latn,tr tur_Latn,"
        "ur urd_Arab,vi vie_Latn,yo yor_Latn,zh zho_Hans"
    ).split(",")
)

SOURCE = "en"
# Scripts that put no blank between two sentences.
WITHOUT_BLANKS = ("ja", "zh")


def load_tokenizer(folder: Path) -> Any:
    """The folder's own tokenizer; M2M100's needs the sentencepiece package. Raises UserError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ImportError:
        raise UserError(
            f"{folder}: its tokenizer needs the package sentencepiece: install it with `pip install sentencepiece`"
        ) from None
    except Exception as error:  # each kind of tokenizer raises what it likes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: its tokenizer cannot be loaded: {reason}") from None


def find_codes(tokenizer: Any, folder: Path, languages: Sequence[str]) -> dict[str, str]:
    """The model's codes of the languages. Raises UserError that names all that it lacks."""
    if SOURCE in _list_m2m100(tokenizer):
        kind, codes = "M2M100", {language: language for language in _list_m2m100(tokenizer)}
    else:
        kind, codes = "NLLB", {language: code for language, code in FLORES.items() if _has_token(tokenizer, code)}
    if SOURCE not in codes:
        raise UserError(
            f"{folder}: neither NLLB's {FLORES[SOURCE]} nor M2M100's __{SOURCE}__ is in its vocabulary; give an "
            "NLLB-200 or M2M100 model as `translation: {model: ...}`"
        )
    if lacking := [language for language in languages if language not in codes]:
        known = ", ".join(sorted(language for language in codes if language in FLORES and language != SOURCE))
        raise UserError(
            f"language {', '.join(lacking)}: the {kind} model in {folder} cannot translate into it; of XTREME's "
            f"languages it has {known}; name only such under `translation: {{languages: ...}}`, or take NLLB-200, "
            "which has all of them"
        )
    return {language: codes[language] for language in languages}


def find_token(tokenizer: Any, code: str) -> int:
    """Id of the token that starts a translation into a language."""
    known = _list_m2m100(tokenizer)
    return int(known[code]) if code in known else int(tokenizer.convert_tokens_to_ids(code))


def list_code_tokens(tokenizer: Any) -> frozenset[int]:
    """Tokens of languages that are no special tokens to the tokenizer, as M2M100's are not."""
    return frozenset(_list_m2m100(tokenizer).values())


def _list_m2m100(tokenizer: Any) -> dict[str, int]:
    """Token ids by M2M100's codes, which are ISO 639-1 where a language has one; empty for another model."""
    return dict(getattr(tokenizer, "lang_code_to_id", {}))


def _has_token(tokenizer: Any, token: str) -> bool:
    number = tokenizer.convert_tokens_to_ids(token)
    return number is not None and number != tokenizer.unk_token_id
