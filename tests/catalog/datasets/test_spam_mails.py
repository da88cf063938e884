"""Raw mails become what a person would have read."""

import hashlib
import io
import tarfile
from email.message import EmailMessage

import pytest

from cuetune_catalog.datasets.readers.spam_mails import mail_text, without_markup
from cuetune_catalog.datasets.readers.spam_mails import read as read_mails

TEXTS = {
    "utf-8": "Grüße — 100 € für dich",
    "iso-8859-1": "Grüße für dich",
    "windows-1252": "“quoted” – 5 €",
    "koi8-r": "Привет",
    "gb2312": "你好",
    "iso-2022-jp": "日本語の件名",
    "us-ascii": "plain words",
}


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
@pytest.mark.parametrize("charset", list(TEXTS))
def test_whatever_the_encoding_the_words_come_back(charset, encoding):
    mail = EmailMessage()
    mail["Subject"] = TEXTS[charset]
    seven = encoding == "8bit" and charset in ("us-ascii", "iso-2022-jp")
    mail.set_content(TEXTS[charset], charset=charset, cte="7bit" if seven else encoding)
    assert mail_text(mail.as_bytes()) == f"{TEXTS[charset]}\n\n{TEXTS[charset]}"


def test_mails_that_lie_about_their_encoding_are_read_as_mail_programs_did():
    head = b"Subject: =?utf-8?q?caf=C3=A9?= news\nContent-Type: text/plain; charset=%s\n\n"
    assert mail_text(head % b"us-ascii" + "5 € – “so”".encode("cp1252")) == "café news\n\n5 € – “so”"
    assert mail_text(head % b"us-ascii" + "5 €".encode()) == "café news\n\n5 €"
    assert mail_text(head % b"iso-8859-1" + "5 € – “so”".encode("cp1252")) == "café news\n\n5 € – “so”"
    assert mail_text(head % b"no-such-charset" + b"\xa35") == "café news\n\n£5"
    assert mail_text(b"Subject: =?utf-8?b?a?=\n\nbody").endswith("\n\nbody")
    assert mail_text(b"Subject: caf\xe9\n\nbody") == "café\n\nbody"


def test_plain_parts_come_before_html_and_attachments_are_left_out():
    mail = EmailMessage()
    mail["Subject"] = "both"
    mail.set_content("the plain part")
    mail.add_alternative("<html><body>the other part</body></html>", subtype="html")
    mail.add_attachment("rows of an attachment", filename="rows.txt")
    assert mail_text(mail.as_bytes()) == "both\n\nthe plain part"
    mail = EmailMessage()
    mail.set_content(" \n")
    mail.add_alternative("<html><body>only <b>here</b></body></html>", subtype="html")
    assert mail_text(mail.as_bytes()) == "only here"
    assert mail_text(b"Content-Type: text/plain\n\n<HTML><body>said<br>as plain</body></HTML>") == "said\nas plain"


def test_html_gives_way_to_what_it_says():
    page = (
        "<html><head><title>Offer</title><style>p {color: red}</style><script>x < 1</script></head>"
        "<p>V<!-- trick -->iagra &amp; more\nnow</p><table><tr><td>a</td><td>b</td></tr></table>&pound;5<br>end"
    )
    said = [line for line in without_markup(page).split("\n") if line]
    assert said == ["Offer", "Viagra & more now", "a b", "£5", "end"]


def archive_of(tmp_path, mails):
    path = tmp_path / "mails.tgz"
    with tarfile.open(path, "w:gz") as files:
        for name, raw in mails.items():
            entry = tarfile.TarInfo(f"package/data/{name}.{hashlib.md5(raw).hexdigest()}.txt")
            entry.size = len(raw)
            files.addfile(entry, io.BytesIO(raw))
    return path


def test_rows_are_labelled_by_group_once_each_and_never_empty(tmp_path):
    mails = {
        "spam-2/00002": b"Subject: Win\n\nnow",
        "easy-ham-1/00001": b"Subject: Re: patch\n\nok",
        "hard-ham-1/00001": b"Subject: News\n\nof today",
        "spam-2/00003": b"Subject: WIN\n\n now",
        "spam-1/00009": b"X-Nothing: here\n\n",
    }
    assert list(read_mails(archive_of(tmp_path, mails))) == [
        ("Re: patch\n\nok", "ham", "easy-ham-1", "easy-ham-1/00001"),
        ("News\n\nof today", "ham", "hard-ham-1", "hard-ham-1/00001"),
        ("Win\n\nnow", "spam", "spam-2", "spam-2/00002"),
    ]
