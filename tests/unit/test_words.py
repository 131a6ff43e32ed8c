"""Words, and the terms that passages are found by."""

import unicodedata

import pytest

from me5.words import _WITH_MARKS, terms, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße, CAFÉ", ["strasse", "café"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("绿茶8度 tea", ["绿茶", "8", "度", "tea"]),
        ("東京都", ["東京", "京都"]),
        ("ไทย", ["ไท", "ทย"]),
        ("人々の", ["人々", "々の"]),
        ("ㄅㄆㄇ", ["ㄅㄆ", "ㄆㄇ"]),
        ("𠮷野家", ["𠮷野", "野家"]),
        ("auf\u00adge\u00adhen", ["aufgehen"]),
        ("ක්‍රීඩා", ["ක්රීඩා"]),
        ("?! …", []),
    ],
)
def test_words_of_every_script(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("银行", "他在银行工作了十年。"),
        ("茶", "每天早上喝一杯茶。"),
        ("富士山", "昨日、富士山に登りました。"),
        ("カメラ", "新しいデジタルカメラを買った。"),
        ("โรงเรียน", "เด็กๆไปโรงเรียนทุกวัน"),
        ("นก", "มีนกอยู่บนต้นไม้"),
        ("ສາລາ", "ຂ້ອຍຢູ່ສາລາໃຫຍ່"),
        ("សាលា", "គាត់ទៅសាលារៀន"),
        ("ကျောင်း", "သူကျောင်းသွားသည်"),
        ("학교", "우리는 학교에서 만났다."),
        ("كتاب", "قرأت الكتاب كله في يوم واحد."),
        ("किताब", "मैंने यह किताब कल पढ़ी।"),
        ("ኢትዮጵያ", "በኢትዮጵያ ውስጥ ነው።"),
        ("haus", "Das Krankenhaus liegt am Fluss."),
        ("Gebirge", "Die Gebirges sind hoch."),
        ("8,611", "K2 is 8611 metres high."),
        ("8611", "K2 is 8,611 metres high."),
        ("E-1042", "It stopped with (E-1042)."),
        ("1042", "It stopped with E-1042."),
        ("2026-01-31", "Due on 2026-01-31."),
    ],
)
def test_a_word_within_a_sentence_shares_terms_with_it(word, sentence):
    assert set(terms(word, question=True)) & set(terms(sentence))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("error E-1042", "e-1042"),
        ("version v1.2.3", "v1.2.3"),
        ("8,611 metres", "8611"),
        ("1’234’567", "1234567"),
        ("3,14", "3,14"),
        ("at 12:30", "12:30"),
        ("K2", "k2"),
        ("sha256sum", "sha256sum"),
    ],
)
def test_names_and_numbers_are_whole(text, whole):
    assert whole in terms(text)
    assert not [term for term in terms("sha256sum") if term != "sha256sum"]


def test_words_without_a_digit_are_not_joined():
    assert set(terms("well-known")) == {"well", "known", "know", "nown"}


def test_all_terms_of_a_question_are_terms_of_the_same_passage():
    for text in ("K2 rises to 8,611 m.", "富士山の標高", "ไทยแลนด์ นก ก", "학교에서", "ቤቶች", "الكتاب", "Krankenhäuser"):
        passage, question = terms(text), terms(text, question=True)
        assert set(question) <= set(passage)
        assert not any(character.isspace() for term in passage for character in term)


def test_a_question_counts_whole_words_twice_and_has_the_longest_pieces():
    assert terms("rivers", question=True) == ["rivers", "rivers", "rive", "iver", "vers"]
    assert terms("富士山", question=True) == ["富士", "士山"]
    assert terms("富士山") == ["富", "士", "山", "富士", "士山"]


def test_every_mark_of_unicode_is_part_of_a_word():
    known = {code for part in _WITH_MARKS for code in part}
    assert {code for code in range(0x110000) if unicodedata.category(chr(code))[0] == "M"} <= known
