"""The English names of emoji and their category in Unicode: the list that the icon set Twemoji carries (CC BY 4.0).

An emoji comes in many variants that differ in a colour, a direction, a person, a number: "woman artist", "man artist
medium skin tone". Of names that are equal without such words only one stays, the shortest. Flags are left out, since
the word "flag" says it all.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

CATEGORIES = {
    "Activities": "activities",
    "Animals & Nature": "animals and nature",
    "Food & Drink": "food and drink",
    "Objects": "objects",
    "People & Body": "people and body",
    "Smileys & Emotion": "smileys and emotion",
    "Symbols": "symbols",
    "Travel & Places": "travel and places",
}
# What the variants of one emoji differ in: people, colours, sizes, directions, numbers, hours, phases.
VARIED = re.compile(
    r"\b(?:(?:medium-)?(?:light|dark|medium)-skin-tone|facing|left|right|up|down|upwards|downwards"
    r"|man|men|mans|mens|woman|women|womans|womens|person|people|adult|boy|girl|child|mrs|mx"
    r"|(?:light-)?blue|black|brown|gr[ae]y|green|orange|pink|purple|red|white|yellow|large|medium|small"
    r"|\d+(?:st|nd|rd)?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|oclock|thirty"
    r"|(?<=letter-)[a-z]|(?:first|last)-quarter|full|new|waning|waxing|crescent|gibbous|cat|face|with|and|of|the)\b"
)


def read(twemoji: Path) -> Iterator[tuple[str, str]]:
    """(text, label) of one name for each emoji, in the order of the list."""
    with tarfile.open(twemoji) as files:
        listed = files.extractfile("package/metadata.json")
        assert listed is not None
        categories = json.load(listed)["categories"]
    for category, label in CATEGORIES.items():
        for name in without_variants(categories[category]):
            yield name.replace("-", " "), label


def without_variants(names: list[str]) -> list[str]:
    """The names in their order; of those that are equal but for the words of variants, the shortest."""
    kept: dict[str, str] = {}
    for name in sorted(names, key=len):
        kept.setdefault(_core(name), name)
    stay = set(kept.values())
    return [name for name in names if name in stay]


def _core(name: str) -> str:
    """A name without the words of variants; one that is such a word itself stays."""
    core = "-".join(filter(None, VARIED.sub("", name).split("-")))
    return core or name * ("-" not in name)
