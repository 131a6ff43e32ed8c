"""Built-in texts in 25 languages on which precisions are compared, so that a measurement needs no data."""

SENTENCES = (
    "The library opens at nine and closes at six.",
    "Die Bibliothek öffnet um neun und schließt um sechs.",
    "La bibliothèque ouvre à neuf heures et ferme à dix-huit heures.",
    "La biblioteca abre a las nueve y cierra a las seis.",
    "A biblioteca abre às nove e fecha às seis.",
    "La biblioteca apre alle nove e chiude alle sei.",
    "De bibliotheek gaat om negen uur open en om zes uur dicht.",
    "Biblioteka jest otwarta od dziewiątej do osiemnastej.",
    "Библиотека открывается в девять и закрывается в шесть.",
    "Бібліотека відчиняється о дев'ятій і зачиняється о шостій.",
    "Η βιβλιοθήκη ανοίγει στις εννέα και κλείνει στις έξι.",
    "Kütüphane dokuzda açılır ve altıda kapanır.",
    "تفتح المكتبة في التاسعة وتغلق في السادسة.",
    "הספרייה נפתחת בתשע ונסגרת בשש.",
    "کتابخانه ساعت نه باز و ساعت شش بسته می‌شود.",
    "पुस्तकालय नौ बजे खुलता है और छह बजे बंद होता है।",
    "গ্রন্থাগার নয়টায় খোলে এবং ছয়টায় বন্ধ হয়।",
    "நூலகம் ஒன்பது மணிக்கு திறந்து ஆறு மணிக்கு மூடுகிறது.",
    "ห้องสมุดเปิดเก้าโมงและปิดหกโมงเย็น",
    "Thư viện mở cửa lúc chín giờ và đóng cửa lúc sáu giờ.",
    "Perpustakaan buka pukul sembilan dan tutup pukul enam.",
    "Maktaba inafunguliwa saa tatu na kufungwa saa kumi na mbili.",
    "图书馆九点开门，六点关门。",
    "図書館は九時に開き、六時に閉まります。",
    "도서관은 아홉 시에 열고 여섯 시에 닫습니다.",
    "Kirjasto avataan yhdeksältä ja suljetaan kuudelta.",
    "",
    "K2",
    "🙂 1 234,56 € — x² ≤ π·r²",
)


def probes(max_tokens: int) -> list[str]:
    """All sentences, and one text that fills the whole length, so that every position is used."""
    return [*SENTENCES, " ".join(sentence for sentence in SENTENCES * (max_tokens // 256 + 1))]
