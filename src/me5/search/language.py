"""Which language a document is in: what it declares, else what its letters say, offline."""

from functools import lru_cache

from langcodes import Language
from langcodes.tag_parser import LanguageTagError
from py3langid.langid import MODEL_FILE, LanguageIdentifier

# The languages that are told apart, by code, English name and own name: those of XLM-R, which E5 models start from, as
# far as the identifier knows them. Its other labels (pcm, bcl, wuu, zxx, …) are nearly always one of these misread.
_OFTEN = """
    ar Arabic العربية|bg Bulgarian български|bn Bengali বাংলা|ca Catalan català|cs Czech čeština|da Danish dansk
    de German Deutsch|el Greek ελληνικά|en English English|es Spanish español|et Estonian eesti|fa Persian فارسی
    fi Finnish suomi|fr French français|he Hebrew עברית|hi Hindi हिन्दी|hr Croatian hrvatski|hu Hungarian magyar
    id Indonesian Indonesia|it Italian italiano|ja Japanese 日本語|ko Korean 한국어|lt Lithuanian lietuvių
    lv Latvian latviešu|nl Dutch Nederlands|no Norwegian norsk|pl Polish polski|pt Portuguese português
    ro Romanian română|ru Russian русский|sk Slovak slovenčina|sl Slovenian slovenščina|sr Serbian српски
    sv Swedish svenska|sw Swahili Kiswahili|ta Tamil தமிழ்|te Telugu తెలుగు|th Thai ไทย|tl Tagalog Tagalog
    tr Turkish Türkçe|uk Ukrainian українська|ur Urdu اردو|vi Vietnamese Tiếng_Việt|zh Chinese 中文
"""
_SELDOM = """
    af Afrikaans Afrikaans|am Amharic አማርኛ|as Assamese অসমীয়া|az Azerbaijani azərbaycan|be Belarusian беларуская
    br Breton brezhoneg|bs Bosnian bosanski|cy Welsh Cymraeg|eo Esperanto Esperanto|eu Basque euskara
    fy Western_Frisian Frysk|ga Irish Gaeilge|gd Scottish_Gaelic Gàidhlig|gl Galician galego|gu Gujarati ગુજરાતી
    ha Hausa Hausa|hy Armenian հայերեն|is Icelandic íslenska|jv Javanese Jawa|ka Georgian ქართული|kk Kazakh қазақ
    km Khmer ខ្មែរ|kn Kannada ಕನ್ನಡ|ku Kurdish Kurdî|ky Kyrgyz кыргызча|la Latin Latina|lo Lao ລາວ
    mg Malagasy Malagasy|mk Macedonian македонски|ml Malayalam മലയാളം|mn Mongolian монгол|mr Marathi मराठी
    ms Malay Melayu|my Burmese မြန်မာ|ne Nepali नेपाली|om Oromo Oromoo|or Odia ଓଡ଼ିଆ|pa Punjabi ਪੰਜਾਬੀ|ps Pashto پښتو
    sa Sanskrit संस्कृतम्|si Sinhala සිංහල|so Somali Soomaali|sq Albanian shqip|ug Uyghur ئۇيغۇرچە|uz Uzbek oʻzbek
    xh Xhosa isiXhosa
"""


def _table(text: str) -> dict[str, tuple[str, ...]]:
    rows = (row.split() for row in text.replace("\n", "|").split("|") if row.strip())
    return {code: tuple(name.replace("_", " ").casefold() for name in names) for code, *names in rows}


_COMMON, _RARE = _table(_OFTEN), _table(_SELDOM)
_CODES = {name: code for code, names in (_COMMON | _RARE).items() for name in names}
# What is written in one way by its readers, or is called otherwise by others.
_SAME = {"cmn": "zh", "wuu": "zh", "yue": "zh", "nb": "no", "nn": "no", "fil": "tl", "arb": "ar", "zsm": "ms"}
# Codes that speak of no language: undetermined, several, uncoded, without linguistic content.
_NONE = frozenset({"und", "mul", "mis", "zxx"})

# From here on a language is believed at all ("K2" is 0.04 Malay, "Tea is a drink." 0.53 English), and from here on one
# that is seldom written, or a passage in another language than its document. Of 1,663 paragraphs in 50 languages none
# was misread at 0.9 from their first 150 characters, 6 % were in doubt; at 0.7 one was misread.
_LIKELY, _SURE = 0.2, 0.9
# So many letters a passage needs to differ from its document.
_LONG = 100
# So many letters a text needs to contradict what it should be in. Of 16,400 questions and passages in 30 languages none
# of so many letters was surely in another one; of those with 30 letters 61 % are surely in their own, with 60 80 %.
_ENOUGH = 20
# A document is judged by its beginning, middle and end: 0.5 ms.
_SAMPLE = 400


def detect(text: str) -> str:
    """The ISO 639-1 code of a text, or nothing where it cannot be told."""
    code, sure = _judged(_sampled(text))
    return code if sure >= (_LIKELY if code in _COMMON else _SURE) else ""


def of_passage(text: str, document: str) -> str:
    """The code of a passage in a document of a language: the same, but for long text that is surely in another one."""
    if sum(map(str.isalpha, text)) < _LONG:
        return document
    code, sure = _judged(text[: 3 * _SAMPLE])
    return code if sure >= _SURE else document


def contradicts(text: str, code: str) -> str:
    """The code of the language that a text is surely in where that is not `code`, else "". Short texts say nothing."""
    if code not in _COMMON | _RARE or sum(map(str.isalpha, text)) < _ENOUGH:
        return ""
    other, sure = _judged(_sampled(text))
    return other if other != code and sure >= _SURE else ""


def known() -> dict[str, str]:
    """The languages that are told apart: English names by code, those that are written often first."""
    return {code: names[0].title() for code, names in (_COMMON | _RARE).items()}


def detect_question(text: str) -> str:
    """The same for a question, or nothing where it is too short to tell: one or two words in Latin letters."""
    return "" if text.isascii() and len(text.split()) < 3 else detect(text)


@lru_cache(4096)
def declared(text: str) -> str:
    """The code of a language that a file names (`de`, `de-DE`, `deu`, `German`), or nothing where it is none.

    Dialects of Chinese and the two Norwegians become `zh` and `no`, as in what `detect` says.
    """
    named = text.strip()
    if (code := _CODES.get(named.casefold())) is not None:
        return code
    try:
        language = Language.get(named)
        code = language.language or ""
        if not 2 <= len(code) <= 3 or code in _NONE or not language.is_valid():
            return ""
    except (LanguageTagError, LookupError, ValueError):
        return ""
    return _SAME.get(code, code)


def _sampled(text: str) -> str:
    if len(text) <= 3 * _SAMPLE:
        return text
    places = (0, (len(text) - _SAMPLE) // 2, len(text) - _SAMPLE)
    return "\n".join(text[place : place + _SAMPLE] for place in places)


def _judged(text: str) -> tuple[str, float]:
    """The likeliest language, and how sure that is, 0 to 1."""
    if not any(map(str.isalpha, text)):
        return "", 0.0
    code, sure = _identifier().classify(text)
    return code, float(sure)


@lru_cache(1)
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*_COMMON, *_RARE])
    return identifier
