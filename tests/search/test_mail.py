"""Email: who wrote what when, in whatever form and charset; attachments, locked and damaged messages are named."""

from email.message import EmailMessage, Message

import pytest

from me5 import InputError
from me5.search.documents import NOWHERE
from me5.search.readers import Columns, kind_of, mail

FROM = b"From ann@example.org Mon Jan  5 09:30:00 2026\n"


def documents(path, raw, told=None):
    path.write_bytes(raw)
    return list(kind_of(path).read(path, Columns(), lambda *what: (pytest.fail if told is None else told.append)(what)))


def message(text="", subject="The hut", **headers):
    made = EmailMessage()
    made["Subject"] = subject
    for name, value in headers.items():
        made[name] = value
    if text:
        made.set_content(text)
    return made


def parts(document):
    return {part.title: document.text[part.start : part.end].strip() for part in document.sections}


def test_a_message_tells_who_wrote_it_when_and_what_is_attached(tmp_path):
    made = message("Die Hütte ist 8 m hoch.", "Größe der Hütte", From="Änn <ann@example.org>", To="bob@example.org")
    made["Date"], made["Message-ID"] = "Mon, 05 Jan 2026 09:30:00 +0100", "<1@example.org>"
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Plän.pdf")
    made.add_attachment("not read", filename="notes.txt")
    made.add_attachment(message("Come along.", "An invitation", From="Cy <cy@example.org>"))
    (document,) = documents(tmp_path / "a.eml", made.as_bytes())
    assert (document.title, document.at) == ("Größe der Hütte", None)
    assert document.text == (
        "From: Änn <ann@example.org>\nTo: bob@example.org\nDate: Mon, 05 Jan 2026 09:30:00 +0100\n"
        "Attachments: Plän.pdf, notes.txt\n\nDie Hütte ist 8 m hoch.\n\n"
        "Subject: An invitation\nFrom: Cy <cy@example.org>\n\nCome along."
    )
    assert document.metadata == {
        "from": "Änn <ann@example.org>", "to": "bob@example.org", "date": "2026-01-05T09:30:00+01:00",
        "attachments": ["Plän.pdf", "notes.txt"], "message_id": "<1@example.org>",
    }  # fmt: skip


def test_what_a_message_answers_is_a_part_of_its_own(tmp_path):
    text = "> Is it far?\nNo.\n\nSee you\n\nOn Monday at 9:30 Ann Example, who lives there\n<ann@example.org> wrote:\n"
    text += "> Come!\n>> Up?\n>\n"
    (document,) = documents(tmp_path / "a.eml", message(text).as_bytes())
    assert parts(document) == {
        "": "> Is it far?\nNo.\n\nSee you",
        "quoted": "On Monday at 9:30 Ann Example, who lives there\n<ann@example.org> wrote:\nCome!\nUp?",
    }
    (plain,) = documents(tmp_path / "a.eml", message("> all quoted\n").as_bytes())
    assert parts(plain) == {"": "", "quoted": "all quoted"}


@pytest.mark.parametrize(("plain", "page", "text"), [
    ("The plain text.", "<p>The page.</p>", "The plain text."),
    ("", "<style>p {}</style><p>Only a <b>page</b>.</p>", "Only a page."),
    ("See it in a browser.", f"<p>{'A long letter. ' * 30}</p>", ("A long letter. " * 30).strip()),
])  # fmt: skip
def test_of_several_forms_the_plainest_that_says_it_is_read(tmp_path, plain, page, text):
    made = message(plain or None)
    (made.add_alternative if plain else made.set_content)(page, subtype="html")
    (document,) = documents(tmp_path / "a.eml", made.as_bytes())
    assert document.text.strip() == text


def raw(text, kind="text/plain", subject=b"x"):
    return (
        b"Subject: " + subject + b"\nContent-Type: " + kind.encode() + b"\nContent-Transfer-Encoding: 8bit\n\n" + text
    )


@pytest.mark.parametrize(("text", "kind", "expected"), [
    ("Größe €".encode("cp1252"), "text/plain; charset=iso-8859-1", "Größe €"),
    ("温泉".encode("iso2022_jp"), "text/plain; charset=ISO-2022-JP", "温泉"),
    ("Größe".encode(), "text/plain", "Größe"),
    ("Größe".encode("latin-1"), "text/plain", "Größe"),
    ("Größe".encode("latin-1"), "text/plain; charset=utf-8", "Größe"),
    ("Größe".encode(), "text/plain; charset=nonsense", "Größe"),
    ("<meta charset=koi8-r><p>Хижина".encode("koi8-r"), "text/html", "Хижина"),
    (b"one \nline\n-- \nAnn", "text/plain; format=flowed", "one line\n-- \nAnn"),
    ("漢字 \n続く".encode(), "text/plain; charset=utf-8; format=flowed; delsp=yes", "漢字続く"),
    (b"so\xadft".replace(b"\xad", "\u00ad".encode()), "text/plain; charset=utf-8", "soft"),
    (b"no parts", "multipart/mixed; boundary=x", "no parts"),
])  # fmt: skip
def test_charsets_are_those_stated_or_the_likeliest(tmp_path, text, kind, expected):
    (document,) = documents(tmp_path / "a.eml", raw(text, kind))
    assert document.text == expected


def test_headers_without_a_charset_and_with_several(tmp_path):
    (document,) = documents(tmp_path / "a.eml", raw(b"x", subject="Größe".encode("latin-1")))
    assert document.title == "Größe"
    (document,) = documents(tmp_path / "a.eml", raw(b"x", subject=b"=?utf-8?q?H=C3=BCtte?= =?koi8-r?b?yMnWyc7B?= up"))
    assert document.title == "Hütteхижина up"
    made = message("x", To=", ".join(f"p{number}@example.org" for number in range(14)))
    (document,) = documents(tmp_path / "a.eml", made.as_bytes())
    assert document.metadata["to"].endswith("p9@example.org and 4 more")


def test_an_mbox_is_cut_where_messages_begin(tmp_path):
    box = (
        FROM + b"Subject: one\n\nFrom here on it is steep.\n\nFrom now on too.\n>From a letter.\n\n"
        + FROM + b"Subject: two\n\nSecond.\n"
    )  # fmt: skip
    first, second = documents(tmp_path / "a.mbox", box)
    assert (first.at, first.title, second.at, second.title) == (1, "one", 2, "two")
    assert first.text.strip() == "From here on it is steep.\n\nFrom now on too.\nFrom a letter."
    assert mail.count(tmp_path / "a.mbox") == 4  # about: also the lines that begin so
    with pytest.raises(InputError, match="cannot be read as mbox: it begins with no line such as `From ann@"):
        documents(tmp_path / "a.mbox", b"Subject: one\n\ntext")
    assert documents(tmp_path / "a.mbox", b"") == []


def locked():
    made = Message()
    made["Subject"], made["Content-Type"] = "Secret", 'multipart/encrypted; boundary="x"'
    made.set_payload("--x\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--x--\n")
    return made.as_bytes()


PGP = b"Before.\n-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\nAfter."


@pytest.mark.parametrize(("told_of", "text"), [(locked(), ""), (raw(PGP), "Before.\n\nAfter.")])
def test_locked_messages_are_told_and_found_by_their_subject(tmp_path, told_of, text):
    told = []
    (document,) = documents(tmp_path / "a.eml", told_of, told)
    assert (document.title in ("Secret", "x"), document.text.strip()) == (True, text)
    first, _ = documents(tmp_path / "a.mbox", FROM + told_of + b"\n\n" + FROM + raw(b"Open."), told)
    assert first.at == 1
    assert [at for at, _ in told] == [NOWHERE, 1]
    assert told[0][1].startswith("its text is encrypted, or wrapped in a signature; only its subject")


def test_signatures_are_no_text(tmp_path):
    signed = b"Hello.\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n"
    (document,) = documents(tmp_path / "a.eml", raw(signed))
    assert document.text.strip() == "Hello."


def test_a_message_that_is_too_large_or_damaged_is_told_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mail, "MOST", 1000)
    told = []
    (document,) = documents(tmp_path / "a.mbox", FROM + raw(b"a\n" * 600) + b"\n\n" + FROM + raw(b"small"), told)
    assert (document.at, document.text) == (2, "small")
    assert told[0][0] == 1
    assert "bytes with what is attached, the most that is read; save it without that" in told[0][1]
    with pytest.raises(InputError, match="with what is attached"):
        documents(tmp_path / "a.eml", raw(b"a" * 1000))
    nested = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (depth, depth) for depth in range(3000)
    )
    monkeypatch.setattr(mail, "MOST", 1 << 20)
    told.clear()
    (document,) = documents(tmp_path / "a.mbox", FROM + nested + b"\n\n" + FROM + raw(b"small"), told)
    assert document.text == "small"
    assert told == [(1, told[0][1])]
    assert told[0][1].startswith("cannot be read: maximum recursion depth")
