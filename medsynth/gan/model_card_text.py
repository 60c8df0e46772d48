"""What a release bundle says of itself: model_card.md."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medsynth.gan.model_card import CARD_JSON, OVERLAPS, PRIVACY_PREFIX

_CHOICES = {
    "last": "It is the last one of its training; nothing was measured to choose it.",
    "FID": "It is the one with the lowest FID of its training.",
}


def card_text(card: Mapping[str, Any]) -> str:
    """Return model_card.md, from what model_card.json holds."""
    return "\n\n".join(_sections(card)) + "\n"


def _sections(card: Mapping[str, Any]) -> Iterator[str]:
    size = f"{card['resolution']}x{card['resolution']}"
    colour = "grey" if card["num_channels"] == 1 else "colour"
    yield f"# Synthetic medical images: {card['application']}, {size}, {colour}"
    yield (
        f"A generator of {card['num_parameters']:,} parameters, shown {card['kimg']:,.1f} thousand images in training. "
        "Every image it makes is synthetic. `samples.png` shows some, a row per label."
    )
    yield f"## Use\n\n```python\n{example(card)}\n```"
    yield (
        "`load_generator` holds every file against `SHA256SUMS` first (`sha256sum -c SHA256SUMS` does the same). "
        "Weights are safetensors, the rest is text: nothing in this folder is run when it is loaded. A whole synthetic "
        f"dataset: `python3 {card['package']}/test.py test data_dir bundle random_seed {card['resolution']}`."
    )
    yield "## Labels\n\n" + ("\n".join(f"- {_cell(name)}" for name in card["labels"]) or "None.")
    yield "## Trained on\n\n" + _data_text(card)
    yield "## Training\n\n" + _training_text(card)
    yield "## Measured\n\n" + _metrics_text(card["metrics"])
    yield "## Privacy\n\n" + _privacy_text(card)
    yield (
        "## Intended use\n\nResearch and teaching on methods: developing and testing programs where the real images "
        "cannot be shared. Not for diagnosis, not for any decision about a patient, and not as evidence of what a "
        "disease looks like."
    )
    yield (
        "## Limits\n\n"
        "- Images carry the labels that were asked for; whether they show them was "
        + ("measured only as above.\n" if card["metrics"] else "not measured.\n")
        + "- What is rare in the training data is rarer or wrong in its images, and its biases are learnt too.\n"
        f"- {size} pixels show no fine detail.\n"
        "- Combinations of labels that the training data lacks can be asked for; what comes out then was never seen."
    )
    yield "## Licence\n\n" + (card["licence"] or "Not stated. Ask whoever gave you this folder before you use it.")
    versions = ", ".join(f"{name} {version}" for name, version in card["made_with"].items())
    yield f"Made with {versions}. The same as data: `{CARD_JSON}`."


def example(card: Mapping[str, Any]) -> str:
    """Return five lines of Python that load a bundle and make images."""
    labels = f", {json.dumps(card['labels'][:1])}" if card["labels"] else ""
    shape = f"[8, {card['resolution']}, {card['resolution']}, {card['num_channels']}]"
    return "\n".join(
        (
            f"from {card['package']}.application import APPLICATION",
            "from medsynth.gan.release import load_generator",
            "",
            'generate = load_generator("bundle", APPLICATION.generator_classes)',
            f"images = generate(range(8){labels})  # seeds 0 to 7: uint8 {shape}",
        )
    )


def _data_text(card: Mapping[str, Any]) -> str:
    data = card["data"]
    if data is None:
        return "Not stated by the exporter."
    header = ["", *data["splits"]]
    rows = [[count, *(_count(split[count]) for split in data["splits"].values())] for count in ("images", "patients")]
    rows += [
        [_cell(name), *(_count(split["positives"][name]) for split in data["splits"].values())]
        for name in card["labels"]
    ]
    audit = data["audit"]
    lines = [f"- audit: {_count(audit['num_errors'])} errors, {_count(audit['num_warnings'])} warnings"]
    for pair, shared in audit["overlaps"].items():
        found = ", ".join(f"{_count(shared[kind])} {words}" for kind, words in OVERLAPS.items())
        lines.append(f"- {pair.replace('-', ' and ')} share {found}")
    source = f"Made by `{data['source']}`, seed {data['seed']}. " if data["source"] else ""
    return f"{source}The network saw `train` alone.\n\n{_table(header, rows)}\n\n" + "\n".join(lines)


def _training_text(card: Mapping[str, Any]) -> str:
    fid = "" if card["fid_when_chosen"] is None else f" It was {card['fid_when_chosen']:.2f}."
    if card["chosen_by"] == "exporter":
        chosen = "It is a snapshot that the exporter chose."
    else:
        chosen = _CHOICES.get(card["chosen_by"], "How it was chosen among the networks of its training is not known.")
    rows = [[f"`{key}`", f"`{json.dumps(value)}`"] for key, value in card["training"].items()]
    seed = "unknown" if card["random_seed"] is None else card["random_seed"]
    return f"{card['kimg']:,.1f} kimg, random seed {seed}. {chosen}{fid}\n\n{_table(['setting', 'value'], rows)}"


def _metrics_text(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return "Nothing."
    header = ["metric", "value", "95 % interval", "images", "real images of", "real against real", "extractor"]
    return _table(header, [_metric_row(entry) for entry in metrics])


def _metric_row(entry: Mapping[str, Any]) -> list[str]:
    low, high, floor = entry["low"], entry["high"], entry["floor"]
    return [
        entry["metric"],
        f"{entry['value']:.4g}",
        "not known" if low is None or high is None else f"{low:.4g} to {high:.4g}",
        _count(entry["n"]),
        entry["split"] or "not known",
        "not known" if floor is None else f"{floor:.4g}",
        entry["extractor"] or "not known",
    ]


def _privacy_text(card: Mapping[str, Any]) -> str:
    if card["privacy_measured"]:
        return (
            f"Measured: the rows that begin with `{PRIVACY_PREFIX}` above. A measurement bounds what its attack found, "
            "not what any other could."
        )
    return (
        "**Not measured.** A generative model can repeat its training images. Nothing here says that this one does "
        "not, so treat it as you would treat data derived from the originals."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _count(value: float | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _cell(text: str) -> str:
    """Return a label as it may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
