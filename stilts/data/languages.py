"""The languages of all targets: ISO 639-1 code, English name, and the code in Tatoeba's file names."""

from __future__ import annotations

from typing import NamedTuple


class Language(NamedTuple):
    name: str
    tatoeba: str  # ISO 639-3, as LASER names its files


LANGUAGES: dict[str, Language] = {
    code: Language(name, tatoeba)
    for code, name, tatoeba in (
        row.split()
        for row in (
            "af Afrikaans afr,ar Arabic ara,bg Bulgarian bul,bn Bengali ben,de German deu,el Greek ell,en English eng,"
            "es Spanish spa,et Estonian est,eu Basque eus,fa Persian pes,fi Finnish fin,fr French fra,he Hebrew heb,"
            "hi Hindi hin,hu Hungarian hun,id Indonesian ind,it Italian ita,ja Japanese jpn,jv Javanese jav,"
            "ka Georgian kat,kk Kazakh kaz,ko Korean kor,ml Malayalam mal,mr Marathi mar,ms Malay msa,my Burmese mya,"
            "nl Dutch nld,pt Portuguese por,ru Russian rus,sw Swahili swh,ta Tamil tam,te Telugu tel,th Thai tha,"
            "tl Tagalog tgl,tr Turkish tur,ur Urdu urd,vi Vietnamese vie,yo Yoruba yor,zh Chinese cmn"
        ).split(",")
    )
}
