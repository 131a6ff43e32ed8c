"""reStructuredText, AsciiDoc and subtitles: what is shown of them, without their markup, and where it stands."""

import pytest

from me5 import InputError
from me5.search.documents import Document
from me5.search.readers import Columns, asciidoc, kind_of


def documents(path, text):
    path.write_text(text, encoding="utf-8")
    return list(kind_of(path).read(path, Columns(), lambda *told: pytest.fail(str(told))))


def parts(document):
    return {part.title: document.text[part.start : part.end].strip() for part in document.sections}


RST = """\
:orphan:

.. _top:

=====
Guide
=====

See :ref:`the way <top>`, :class:`~hut.way.Steep`, :func:`!go`, ``code``, `Map <https://example.org>`_, Elsewhere_
and |version| [1]_.

.. note:: Mind *this*.

   And that.

.. code-block:: python
   :linenos:
   :caption: Example

   def f(): ...

Deeper
------

.. py:function:: go(up, down)
                 walk(up)

   Goes.

   :param up: how far

.. toctree::

   other

.. list-table::

   * - A
     - B b
   * - 1
     - 2

.. image:: x.png
   :alt: A picture

.. math:: a^2 + b

.. only:: html

   Only here.

.. figure:: y.png
   :unknown: option

   The figure.

.. raw:: html

   <b>raw</b>

.. include:: /etc/hostname

.. [1] The foot.

.. comment
"""


def test_rst_with_what_sphinx_adds(tmp_path):
    (document,) = documents(tmp_path / "a.rst", RST)
    assert document.title == "Guide"
    figure = ".. figure:: y.png\n   :unknown: option\n\n   The figure."
    assert parts(document) == {
        "": "See the way, Steep, go, code, Map, Elsewhere and version .\nMind this.\nAnd that.\nExample\ndef f(): ...",
        "Deeper": "go(up, down) walk(up)\nGoes.\nparam up\nhow far\nA\tB b\n1\t2\nA picture\na^2 + b\nOnly here.\n"
        f"{figure}\nThe foot.",
    }


def test_rst_that_is_damaged_loses_no_words(tmp_path):
    (document,) = documents(
        tmp_path / "a.rst", "Title\n==\n\nBad *emphasis, `role, |x.\n\n===  ==\na    b\n===\n\nEnd.\n"
    )
    for word in ("Title", "emphasis", "role", "a    b", "End."):
        assert word in document.text


ADOC = """\
= The *Guide*
Ann Example <ann@example.org>
:product: Pump
ifndef::x[:icons: font]

// a comment
{product} is *bold*, _slanted_, `mono` and __un__constrained; see <<way,the way>>, https://example.org[Map,window=_blank],
https://example.org/bare, xref:other.adoc[], linkgit:git-log[1], kbd:[Ctrl+C], "`quoted`", [.role]#marked#, H~2~O.
C++, a + b + c, snake_case_name, 2*3*4, {unknown}, a (((index, term)))word.footnote:[A foot.]

[[way]]
== Way

.Listing
[source,ruby]
----
puts "x" # <1>
== no heading
----
<1> Prints.

NOTE: Mind this.

[cols="1,2"]
|===
|A |B
// no row

|1 2+|two
a|* x
|===

term:: meaning
* item
  goes on
** [x] done
+
more

 as it
  is

////
hidden
////

image::a.png[A picture]
include::/etc/hostname[]
ifdef::x[]
Shown
endif::[]

Old style
---------
A line +
another

++++
<p>Some <b>HTML</b></p>
++++

----
never closed
"""


def test_asciidoc(tmp_path):
    (document,) = documents(tmp_path / "a.adoc", ADOC)
    assert document.title == "The Guide"
    assert parts(document) == {
        "": "Ann Example <ann@example.org>\n"
        "Pump is bold, slanted, mono and unconstrained; see the way, Map, https://example.org/bare, other.adoc, "
        "git-log(1), Ctrl+C, “quoted”, marked, H2O. C++, a + b + c, snake_case_name, 2*3*4, {unknown}, "
        "a word. (A foot.)",
        "Way": 'Listing\nputs "x"\n== no heading\nPrints.\nNOTE: Mind this.\nA\tB\n1\ttwo\n* x\nterm\nmeaning\n'
        "item goes on\ndone\nmore\n as it\n  is\nA picture\nShown",
        "Old style": "A line\nanother\nSome HTML\n\nnever closed",
    }


@pytest.mark.parametrize("line", ["*" * 5000, "_a" * 3000, "[" * 5000, "<<a" * 2000, "a:" * 3000 + "[", "`a " * 2000])
def test_asciidoc_takes_no_time_with_the_square_of_a_line(line):
    assert isinstance(asciidoc.document(line), Document)


SRT = """\
1
00:00:01,000 --> 00:00:03,000
<i>Hello</i> {\\an8}there

- after a blank line

2
00:00:03,050 --> 00:00:05,000
- after a blank line
Second &amp; last.

3
01:40:00,000 --> 01:40:04,000
42

4
01:40:00,000 --> 01:40:05,000
"""


def test_subtitles_are_cut_by_time(tmp_path):
    first, second = documents(tmp_path / "a.srt", SRT)
    assert first.text == "Hello there\n- after a blank line\nSecond & last."
    assert (first.at, first.metadata) == (1, {"start": 1.0, "end": 5.0})
    assert (second.at, second.text) == (6000, "42")


def test_a_part_ends_with_a_sentence_after_a_while(tmp_path):
    said = ["on", "and", "on", "it", "goes."] * 2 + ["and on"] * 40
    times = [f"00:{second // 60:02}:{second % 60:02}.000" for second in range(0, 255, 5)]
    cues = (f"{times[at]} --> {times[at + 1]}\n{text}\n\n" for at, text in enumerate(said))
    found = documents(tmp_path / "a.vtt", "WEBVTT\n\n" + "".join(cues))
    assert [(document.at, document.metadata["end"]) for document in found] == [
        (0, 50),
        (50, 140),
        (140, 230),
        (230, 250),
    ]


VTT = """\
WEBVTT
Language: de-AT

STYLE
::cue { color: red }

NOTE no text

intro
00:01.000 --> 00:04.000 align:start
<v.loud Ann>Grüß &amp; <c.x>Gott<00:00:02.000> all</c>

00:04.000 --> 00:05.000
Grüß & Gott
Grüß & Gott

00:30.000 --> 00:31.000
At once.

00:30.500 --> 00:31.000
"""


def test_webvtt(tmp_path):
    first, second = documents(tmp_path / "a.vtt", VTT)
    assert (first.text, first.language) == ("Ann: Grüß & Gott all\nGrüß & Gott\nGrüß & Gott", "de-AT")
    assert (second.at, second.text) == (30, "At once.")
    twice = "WEBVTT\n\n" + "".join(f"00:0{at}.000 --> 01:30:0{at}.000\n{at}\n\n" for at in (1, 1, 1))
    assert [document.at for document in documents(tmp_path / "b.vtt", twice)] == [1, 2, 3]
    with pytest.raises(InputError, match="is not a subtitle file: it has no line with times such as"):
        documents(tmp_path / "c.srt", "Only text.")


def test_a_hit_tells_its_time_and_its_message(index, docs):
    (docs / "talk.srt").write_text(SRT.replace("42", "The bath is hot."))
    header = "From a@example.org Mon Jan 5 09:30:00 2026\nSubject: {}\n\n{}\n\n"
    (docs / "box.mbox").write_text(header.format("Tea", "Tea needs water.") + header.format("Oil", "Oil the pump."))
    with index:
        assert index.add([docs]).bad == []
    (hit,) = index.search("hot bath", 1)
    assert (hit.place, hit.kind) == ("docs/talk.srt, 1:40:00", "subtitles")
    hits = {hit.place: hit for hit in index.search("oil or tea", 2, where="kind = 'email'", group="document")}
    assert set(hits) == {"docs/box.mbox, message 1", "docs/box.mbox, message 2"}
    assert [found.title for found in index.around(hits["docs/box.mbox, message 2"].id, before=5, after=5)] == ["Oil"]
