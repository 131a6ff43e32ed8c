"""A folder as people have them: every kind of document, in several languages, each with its oddities."""

import json
import re

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from madepdf import pdf_of

MKDOCS = """---
title: >
  Getting started
tags: [installation]
hide: [toc]
---
<div align="center"><img src="logo.svg" alt="logo"></div>

[![CI](https://example.org/ci.svg)](https://example.org/ci)

<!-- sponsors -->

# Getting started { #start }

Install the package with pip, then run it once &amp; read what it says.{ .lead }

!!! warning "Mind the version"
    Python 3.11 or newer is needed, older ones are refused.

/// note
    type: info

The cache lies in your home folder.

///

{* ../../examples/first.py hl[1:3] *}

## `max_seq_length` &amp; __init__ {: #len }

=== "Linux"

    ```sh
    pip install "thing[all]"  # {{ not a macro }}
    ```

::: thing.module.Reader
    options:
        members: false
"""
GERMAN = """<!doctype html><html lang="de-DE"><head><meta charset="iso-8859-1">
<title>Garantie &amp; Rückgabe</title></head>
<body><nav>Start Kontakt</nav><form><h1>Garantie<br>und Rückgabe</h1>
<p>Die Garantie gilt f\u00fcr zwei Jahre ab dem Kauf.</p>
<h2><button>Wie gebe ich Ware zur&uuml;ck?</button><a href="#r">¶</a></h2><details><summary>Frist</summary>Innerhalb von
vierzehn Tagen, ohne Angabe von Gr&uuml;n&shy;den.</details></form><script>var x = 1;</script></body></html>"""
JAPANESE = "# 富士山\n\n富士山は日本で一番高い山です。とても有名です。\n\n## 登山\n\n夏に登れます。\n"


@pytest.fixture
def folder(docs):
    (docs / "start.md").write_text(MKDOCS, encoding="utf-8")
    (docs / "garantie.html").write_bytes(GERMAN.encode("latin-1"))
    (docs / "fuji.md").write_text(JAPANESE, encoding="utf-8")
    (docs / "manual.pdf").write_bytes(pdf_of("The pump needs oil once a year."))
    contrat = docx.Document()
    contrat.add_heading("Contrat", 1)
    paragraph = contrat.add_paragraph("Le loyer est de ")
    paragraph._p.append(
        parse_xml(f'<w:ins {nsdecls("w")} w:id="1"><w:r><w:t>250 euros par mois.</w:t></w:r></w:ins>'),
    )
    contrat.save(docs / "contrat.docx")
    cells = [
        {"cell_type": "markdown", "source": ["# Análisis\n", "\n", "Leemos los datos de ventas y hacemos un gráfico."]},
        {"cell_type": "code", "source": ["ventas = leer('ventas.csv')"], "outputs": [{"text": ["no se busca"]}]},
    ]
    (docs / "analisis.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}), encoding="utf-8")
    (docs / "kunden.csv").write_text("id;text\n1;Der Kunde wohnt in Wien.\n", encoding="utf-8")
    (docs / "app.html").write_text('<body><div id="app"></div><script src="a.js"></script></body>')
    return docs


def test_people_files_become_clean_passages(index, folder):
    summary = index.add([folder])
    told = [bad.source for bad in [*summary.bad, *summary.textless]]
    assert [source.rpartition("/")[2] for source in told] == ["app.html"]
    columns = ["source", "title", "text"]
    rows = index.store.passages.search().select(columns).to_list()
    found = sorted((row["source"].rpartition("/")[2], row["title"], row["text"]) for row in rows)
    assert found == [
        ("analisis.ipynb", "Análisis",
         "Leemos los datos de ventas y hacemos un gráfico.\nventas = leer('ventas.csv')"),
        ("contrat.docx", "Contrat", "Le loyer est de 250 euros par mois."),
        ("fuji.md", "富士山", "富士山は日本で一番高い山です。とても有名です。"),
        ("fuji.md", "富士山: 登山", "夏に登れます。"),
        ("garantie.html", "Garantie & Rückgabe: Garantie und Rückgabe",
         "Die Garantie gilt für zwei Jahre ab dem Kauf."),
        ("garantie.html", "Garantie & Rückgabe: Garantie und Rückgabe: Wie gebe ich Ware zurück?",
         "Frist\nInnerhalb von vierzehn Tagen, ohne Angabe von Gründen."),
        ("kunden.csv", "", "Der Kunde wohnt in Wien."),
        ("manual.pdf", "The manual", "The pump needs oil once a year."),
        ("start.md", "Getting started",
         "installation\nInstall the package with pip, then run it once & read what it says.\nMind the version\n"
         "Python 3.11 or newer is needed, older ones are refused.\nThe cache lies in your home folder."),
        ("start.md", "Getting started: max_seq_length & __init__",
         'Linux\npip install "thing[all]"  # {{ not a macro }}\nthing.module.Reader'),
    ]  # fmt: skip
    markup = re.compile(r"<\w|&\w+;|/{3}|!!!|===|:::|\{[#.:*]|\]\(|<!--")
    assert not [row for row in found if markup.search(f"{row[1]} {row[2]}")]
