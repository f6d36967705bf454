"""Languages by their codes: every rule that depends on a language asks here, so that zh, zh-CN, zh_Hant_TW, zho and cmn mean the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

CODE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{1,8})*", re.IGNORECASE)  # BCP 47; some corpora write `_` for `-`
_THREE_LETTERS = """
aar:aa abk:ab ave:ae afr:af aka:ak amh:am arg:an ara:ar arb:ar asm:as ava:av aym:ay aze:az azj:az bak:ba bel:be bul:bg bis:bi bam:bm
ben:bn bod:bo bre:br bos:bs cat:ca che:ce cha:ch cos:co cre:cr ces:cs chu:cu chv:cv cym:cy dan:da deu:de div:dv dzo:dz ewe:ee ell:el
eng:en epo:eo spa:es est:et ekk:et eus:eu fas:fa pes:fa prs:fa ful:ff fin:fi fij:fj fao:fo fra:fr fry:fy gle:ga gla:gd glg:gl grn:gn
guj:gu glv:gv hau:ha heb:he hin:hi hmo:ho hrv:hr hat:ht hun:hu hye:hy her:hz ina:ia ind:id ile:ie ibo:ig iii:ii ipk:ik ido:io isl:is
ita:it iku:iu jpn:ja jav:jv kat:ka kon:kg kik:ki kua:kj kaz:kk kal:kl khm:km kan:kn kor:ko kau:kr kas:ks kur:ku kmr:ku kom:kv cor:kw
kir:ky lat:la ltz:lb lug:lg lim:li lin:ln lao:lo lit:lt lub:lu lav:lv lvs:lv mlg:mg plt:mg mah:mh mri:mi mkd:mk mal:ml mon:mn khk:mn
mar:mr msa:ms zsm:ms mlt:mt mya:my nau:na nob:nb nde:nd nep:ne npi:ne ndo:ng nld:nl nno:nn nor:no nbl:nr nav:nv nya:ny oci:oc oji:oj
orm:om ori:or ory:or oss:os pan:pa pli:pi pol:pl pus:ps pbt:ps por:pt que:qu roh:rm run:rn ron:ro rus:ru kin:rw san:sa srd:sc snd:sd
sme:se sag:sg hbs:sh sin:si slk:sk slv:sl smo:sm sna:sn som:so sqi:sq als:sq srp:sr ssw:ss sot:st sun:su swe:sv swa:sw swh:sw tam:ta
tel:te tgk:tg tha:th tir:ti tuk:tk tgl:tl fil:tl tsn:tn ton:to tur:tr tso:ts tat:tt twi:tw tah:ty uig:ug ukr:uk urd:ur uzb:uz uzn:uz
ven:ve vie:vi vol:vo wln:wa wol:wo xho:xh yid:yi ydd:yi yor:yo zha:za zho:zh cmn:zh zul:zu alb:sq arm:hy baq:eu bur:my chi:zh cze:cs
dut:nl fre:fr geo:ka ger:de gre:el ice:is mac:mk mao:mi may:ms per:fa rum:ro slo:sk tib:bo wel:cy
"""  # ISO 639-2 and 639-3, with the larger members of macrolanguages -> ISO 639-1
_OLD_CODES = {"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro"}
_CODES = dict(pair.split(":") for pair in _THREE_LETTERS.split()) | _OLD_CODES | {"jp": "ja", "cn": "zh"}  # countries, often meant so
_SCRIPTS = {  # ISO 15924 -> the languages that are written in it (ISO 639); the others are written in Latin letters
    "Hans": "zh wuu gan hsn cjy",
    "Hant": "yue nan hak cdo lzh",
    "Jpan": "ja ryu",
    "Kore": "ko",
    "Cyrl": "ab av ba be bg ce cu cv kk kv ky mk mn os ru sah sh sr tg tt tyv udm uk uz",
    "Latn": "sh sr uz",
    "Grek": "el grc",
    "Arab": "acm aeb apc ar ars ary arz azb ckb fa ks pnb ps sd skr ug ur",
    "Hebr": "he yi",
    "Syrc": "arc syr",
    "Thaa": "dv",
    "Nkoo": "nqo",
    "Deva": "awa bho brx doi hi hne kok ks mag mai mr ne new sa sd",
    "Beng": "as bn mni",
    "Gujr": "gu",
    "Guru": "pa",
    "Orya": "or",
    "Olck": "sat",
    "Taml": "ta",
    "Telu": "te",
    "Knda": "kn tcy",
    "Mlym": "ml",
    "Sinh": "si",
    "Thai": "nod th tts",
    "Laoo": "lo",
    "Khmr": "km",
    "Mymr": "blk ksw mnw my rki shn",
    "Tale": "tdd",
    "Talu": "khb",
    "Tibt": "bo dz lbj",
    "Geor": "ka",
    "Armn": "hy hyw",
    "Ethi": "am gez ti tig",
    "Cans": "cr iu oj",
    "Cher": "chr",
    "Yiii": "ii",
}
_BY_REGION = {"zh": {"Hant": "TW HK MO"}, "yue": {"Hans": "CN"}, "pa": {"Arab": "PK"}, "uz": {"Arab": "AF"}, "mn": {"Mong": "CN"}}
_HAN = {"Hans", "Hant", "Hani", "Hanb", "Bopo"}
_UNSPACED = {*_HAN, "Jpan", "Hira", "Kana", "Hrkt", "Thai", "Laoo", "Khmr", "Mymr"}
_UNSPACED |= {"Tale", "Talu", "Lana", "Tavt", "Tibt", "Java", "Bali"}
_RIGHT_TO_LEFT = {"Adlm", "Arab", "Aran", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"}
_DOTTED_I = {"az", "crh", "gag", "kaa", "kk", "tr", "tt"}


@dataclass(frozen=True)
class Language:
    """A language: its code (ISO 639-1 where there is one), the scripts that it may be written in (ISO 15924), its region or ""."""

    code: str
    scripts: frozenset[str]
    region: str = ""

    @property
    def unspaced(self) -> bool:
        """Whether it is written without spaces between words."""
        return self.scripts <= _UNSPACED

    @property
    def chinese(self) -> bool:
        """Whether it is written in Chinese characters alone."""
        return self.scripts <= _HAN

    @property
    def traditional(self) -> bool:
        """Whether it is written in traditional Chinese characters."""
        return self.scripts == {"Hant"}

    @property
    def right_to_left(self) -> bool:
        return self.scripts <= _RIGHT_TO_LEFT

    @property
    def dotted_i(self) -> bool:
        """Whether I and İ are two letters, with ı and i as their small ones, as in Turkish."""
        return self.code in _DOTTED_I and "Latn" in self.scripts


@lru_cache
def language_of(code: str) -> Language:
    """The language of a code by BCP 47, such as zh, zh-CN, sr-Latn, yue_Hant_HK; also of the three-letter codes of ISO 639-2 and 639-3.

    Upper and lower case, and `-` and `_`, are the same. A code that nobody knows is a language of its own, in Latin letters.
    """
    first, *subtags = re.split("[-_]", re.split("[.@]", code)[0].lower())
    script = region = ""
    for number, subtag in enumerate(subtags):
        if len(subtag) == 1:
            break  # an extension or private subtag
        if number == 0 and len(subtag) == 3 and subtag.isalpha():
            first = subtag  # zh-yue is yue
        elif number == 1 and first == "min" and subtag == "nan":
            first = subtag  # zh-min-nan is nan
        elif len(subtag) == 4 and subtag.isalpha():
            script = subtag.title()
        elif re.fullmatch("[a-z]{2}|[0-9]{3}", subtag):
            region = subtag.upper()
    name = _CODES.get(first, first)
    return Language(name, frozenset({script} if script else _default_scripts(name, region)), region)


def _default_scripts(name: str, region: str) -> set[str]:
    regional = {script for script, regions in _BY_REGION.get(name, {}).items() if region in regions.split()}
    return regional or {script for script, languages in _SCRIPTS.items() if name in languages.split()} or {"Latn"}
